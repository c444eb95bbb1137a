//! CAs that Postern is given: that of its certificate, for the Secrets that it delivers (`--ca-file`), and those that it trusts
//! (`--outbound-ca-file`).

use std::fmt::Display;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::watch;

use crate::crypto::certificate::{Certificate, NotACertificate};
use crate::util::watch_channel::send_if_new;

type Ca = Option<Arc<str>>;

/// How often the file is read again. A mounted Secret is up to a minute behind already.
const POLL_INTERVAL: Duration = Duration::from_secs(10);
/// A file that has gone is believed to stay away after this time: a certificate that is issued again is away for less.
const GONE_AFTER: Duration = Duration::from_mins(5);
/// Every delivered Secret carries it. More is a bundle of public CAs, which clients have already.
const FILE_BYTES_MAX: usize = 64 * 1024;

/// The CA in the file, as soon as it can be read, and after each change. A file that does not exist, or is empty, is no CA:
/// clients trust the certificate anyway, as with one of a public CA.
pub(super) async fn follow(flag: &'static str, file: PathBuf) -> watch::Receiver<Ca> {
    let mut seen = Follower { flag, ..Follower::default() };
    // Without it, delivered Secrets would lose the CA that they have.
    let first = loop {
        if let Some(found) = seen.take(read(&file).await, Instant::now()) {
            break found;
        }
        tokio::time::sleep(POLL_INTERVAL).await;
    };
    let (ca, followed) = watch::channel(first);
    tokio::spawn(async move {
        while !ca.is_closed() {
            tokio::time::sleep(POLL_INTERVAL).await;
            if let Some(found) = seen.take(read(&file).await, Instant::now()) {
                send_if_new(&ca, found);
            }
        }
    });
    followed
}

/// What was read so far.
#[derive(Debug, Default)]
struct Follower {
    /// The flag that names the file.
    flag: &'static str,
    had_one: bool,
    gone_since: Option<Instant>,
    /// The problem that was logged last.
    told: String,
}

impl Follower {
    /// What to deliver after a read; `None`: no change.
    fn take(&mut self, read: Result<Ca, String>, now: Instant) -> Option<Ca> {
        let found = match read {
            Ok(found) => {
                self.told.clear();
                found
            }
            Err(problem) => {
                if problem != self.told {
                    tracing::warn!(
                        problem,
                        "{} cannot be used: the CA that was read before stays in use, if there was one",
                        self.flag
                    );
                }
                self.told = problem;
                return None;
            }
        };
        if found.is_none() && self.had_one {
            let since = *self.gone_since.get_or_insert(now);
            if now.duration_since(since) < GONE_AFTER {
                return None;
            }
        }
        (self.had_one, self.gone_since) = (found.is_some(), None);
        Some(found)
    }
}

/// The certificates in the file, and nothing else that stands there: everybody may read them.
async fn read(file: &Path) -> Result<Ca, String> {
    let text = match tokio::fs::read(file).await {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(format!("{}: {error}", file.display())),
    };
    if text.trim_ascii().is_empty() {
        return Ok(None);
    }
    let of_file = |problem: &dyn Display| format!("{}: {problem}", file.display());
    let certificates = Certificate::all(&String::from_utf8_lossy(&text)).map_err(|problem| of_file(&problem))?;
    let pem: String = certificates.iter().map(Certificate::to_pem).collect();
    match pem.len() {
        0 => Err(of_file(&NotACertificate::Absent)),
        1..=FILE_BYTES_MAX => Ok(Some(pem.into())),
        _ => Err(of_file(&format!("longer than {FILE_BYTES_MAX} bytes; keep only the CA of the endpoint in it"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn nothing_but_certificates_is_ever_delivered() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("ca.crt");
        assert_eq!(read(&file).await, Ok(None), "there is no file");
        let write = |text: &str| std::fs::write(&file, text).unwrap();
        write("\n");
        assert_eq!(read(&file).await, Ok(None));
        write("nonsense");
        assert!(read(&file).await.unwrap_err().ends_with("ca.crt: holds no certificate in PEM"));
        let made = rcgen::generate_simple_self_signed(["ca".to_owned()]).unwrap();
        let (certificate, key) = (made.cert.pem().replace("\r\n", "\n"), made.signing_key.serialize_pem());
        write(&format!("# of the proxy\n{key}{certificate}{certificate}"));
        assert_eq!(read(&file).await, Ok(Some(format!("{certificate}{certificate}").into())));
        write(&key);
        assert!(read(&file).await.unwrap_err().ends_with("ca.crt: holds no certificate in PEM"));
        write(&format!("{certificate}-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n"));
        assert!(read(&file).await.unwrap_err().contains("ca.crt: certificate 2 cannot be decoded: "));
        write(&certificate.repeat(200));
        assert!(read(&file).await.unwrap_err().contains("keep only the CA"));
    }

    #[test]
    fn a_missing_file_takes_effect_after_a_delay_and_an_unreadable_one_never() {
        let (mut follower, start) = (Follower::default(), Instant::now());
        let ca: Ca = Some("ca".into());
        assert_eq!(follower.take(Err("no".to_owned()), start), None);
        assert_eq!(follower.take(Ok(None), start), Some(None), "there never was one");
        assert_eq!(follower.take(Ok(ca.clone()), start), Some(ca.clone()));
        assert_eq!(follower.take(Ok(None), start), None);
        assert_eq!(follower.take(Ok(ca.clone()), start + GONE_AFTER), Some(ca.clone()), "it is back");
        assert_eq!(follower.take(Ok(None), start + GONE_AFTER), None);
        assert_eq!(follower.take(Err("no".to_owned()), start + GONE_AFTER * 3 / 2), None);
        assert_eq!(follower.take(Ok(None), start + GONE_AFTER * 2), Some(None));
    }
}
