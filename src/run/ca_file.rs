//! The CA of a certificate that Postern is given, for the Secrets that it delivers (`--ca-file`).

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use tokio::sync::watch;

/// How often the file is read again. A mounted Secret is up to a minute behind already.
const LOOK_EVERY: Duration = Duration::from_secs(10);

/// The CA in the file, now and after each change. A file that does not exist, or is empty, is no CA: clients trust the
/// certificate anyway, as with one of a public CA.
pub(super) async fn follow(file: PathBuf) -> watch::Receiver<Option<Arc<str>>> {
    let (ca, followed) = watch::channel(None);
    let mut told = String::new();
    look(&file, &ca, &mut told).await;
    tokio::spawn(async move {
        while !ca.is_closed() {
            tokio::time::sleep(LOOK_EVERY).await;
            look(&file, &ca, &mut told).await;
        }
    });
    followed
}

/// Reads the file once. `told` is the problem that was logged last.
async fn look(file: &Path, ca: &watch::Sender<Option<Arc<str>>>, told: &mut String) {
    let problem = match read(file).await {
        Ok(found) => {
            ca.send_if_modified(|known| {
                let is_new = *known != found;
                *known = found;
                is_new
            });
            String::new()
        }
        Err(problem) => problem,
    };
    if !problem.is_empty() && problem != *told {
        tracing::warn!(problem, "--ca-file cannot be used; delivered Secrets keep the CA that was read before");
    }
    *told = problem;
}

async fn read(file: &Path) -> Result<Option<Arc<str>>, String> {
    let text = match tokio::fs::read_to_string(file).await {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(format!("{}: {error}", file.display())),
    };
    if text.trim().is_empty() {
        return Ok(None);
    }
    match CertificateDer::from_pem_slice(text.as_bytes()) {
        Ok(_) => Ok(Some(text.into())),
        Err(_) => Err(format!("{} holds no certificate in PEM", file.display())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_no_certificate_is_never_delivered() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("ca.crt");
        assert_eq!(read(&file).await, Ok(None), "there is no file");
        let write = |text: &str| std::fs::write(&file, text).unwrap();
        write("\n");
        assert_eq!(read(&file).await, Ok(None));
        write("-----BEGIN PRIVATE KEY-----\nMAo=\n-----END PRIVATE KEY-----\n");
        assert!(read(&file).await.unwrap_err().ends_with("ca.crt holds no certificate in PEM"));
        let certificate = "-----BEGIN CERTIFICATE-----\nMAo=\n-----END CERTIFICATE-----\n";
        write(certificate);
        assert_eq!(read(&file).await, Ok(Some(certificate.into())));
    }
}
