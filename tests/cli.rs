//! The real binary, from its start until it needs an API server.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "in tests a panic is the report; clippy's own exception covers test functions, not their helpers"
)]

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

/// `postern` without the environment of the test process.
fn postern(arguments: &[&str], environment: &[(&str, &str)]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_postern"));
    command.args(arguments).env_clear().envs(environment.iter().copied());
    command
}

/// The output of `postern run` on standard error, which is one line, and its exit code.
fn refused(arguments: &[&str], environment: &[(&str, &str)]) -> (String, Option<i32>) {
    let Output { status, stdout, stderr } = postern(&[&["run"], arguments].concat(), environment).output().unwrap();
    let stderr = String::from_utf8(stderr).unwrap();
    assert!(stderr.ends_with('\n') && stderr.lines().count() == 1, "one line: {stderr:?}");
    assert!(stdout.is_empty());
    (stderr, status.code())
}

const ISSUER: &str = "--issuer=https://postern.example.com";

#[test]
fn a_bad_configuration_fails_at_startup_with_one_line_that_names_it() {
    for (arguments, named) in [
        (&[][..], &["--issuer"][..]),
        (&[ISSUER, "--token-lifetime-max=soon"], &["--token-lifetime-max", "'soon'"]),
        (&[ISSUER, "--token-lifetime-max=365d"], &["--token-lifetime-max", "'365d'", "364d"]),
        (&[ISSUER, "--secrets-per-application=0"], &["--secrets-per-application", "'0'", "1..=1000"]),
        (
            &[ISSUER, "--failed-authentications-per-minute=59"],
            &["--failed-authentications-per-minute", "'59'", "0, or", "60"],
        ),
        (&[ISSUER, "--failed-authentications-per-minute=-1"], &["--failed-authentications-per-minute", "'-1'"]),
        (&[ISSUER, "--hashes-per-second=many"], &["--hashes-per-second", "'many'"]),
        (&[ISSUER, "--token-requests-per-minute=0"], &["--token-requests-per-minute", "'0'", "1 to 100000"]),
        (&[ISSUER, "--token-requests-per-minute=100001"], &["--token-requests-per-minute", "1 to 100000"]),
        (&[ISSUER, "--trusted-proxies=10.0.0.1"], &["--trusted-proxies", "'10.0.0.1'"]),
        (&[ISSUER, "--listen=nowhere\nat all"], &["--listen", "nowhere at all"]),
        (&[ISSUER, "--isuer=x"], &["--isuer", "--issuer"]),
        (&[ISSUER, "--insecure-http", "--tls-san=a"], &["--insecure-http", "--tls-san"]),
        (&[ISSUER, "--tls-cert-file=a"], &["--tls-key-file"]),
    ] {
        let (line, code) = refused(arguments, &[]);
        assert!(named.iter().all(|part| line.contains(part)), "{named:?} in {line:?}");
        assert_eq!(code, Some(2), "{line}");
    }
}

#[test]
fn a_bad_environment_variable_is_named_too() {
    for (variable, flag) in [
        ("POSTERN_TOKEN_LIFETIME_MAX", "--token-lifetime-max"),
        ("POSTERN_CONNECTIONS_MAX", "--connections-max"),
        ("POSTERN_LISTEN", "--listen"),
    ] {
        let (line, code) = refused(&[ISSUER], &[(variable, "a\nb")]);
        assert!(line.contains(flag) && line.contains(variable), "{line}");
        assert_eq!(code, Some(2), "{line}");
    }
    let (line, _) = refused(&[ISSUER, "--connections-max=none"], &[("POSTERN_CONNECTIONS_MAX", "7")]);
    assert!(!line.contains("POSTERN_CONNECTIONS_MAX"), "the flag is what counts: {line}");
}

#[test]
fn the_value_of_a_flag_is_validated_before_anything_is_done() {
    for (arguments, named) in [
        (&["--issuer=http://postern.example.com"][..], &["--issuer", "--insecure-http"][..]),
        (&["--issuer=postern"], &["--issuer", "https://"]),
        (&[ISSUER, "--service-documentation=docs"], &["--service-documentation", "\"docs\"", "https"]),
        (&[ISSUER, "--service-documentation=http://docs.example.com"], &["--service-documentation", "--insecure-http"]),
        (&[ISSUER, "--log-level=a=b=c"], &["--log-level"]),
    ] {
        let (line, code) = refused(arguments, &[]);
        assert!(named.iter().all(|part| line.contains(part)), "{named:?} in {line:?}");
        assert_eq!(code, Some(1), "{line}");
    }
}

#[test]
fn help_and_version_are_printed_as_usual() {
    for asked in ["--help", "--version"] {
        let output = postern(&[asked], &[]).output().unwrap();
        assert!(output.status.success() && output.stderr.is_empty() && !output.stdout.is_empty(), "{asked}");
    }
    let nothing = postern(&[], &[]).output().unwrap();
    assert_eq!(nothing.status.code(), Some(2));
    assert!(String::from_utf8(nothing.stderr).unwrap().contains("Usage: postern <COMMAND>"));
}

#[test]
fn a_shell_of_make_up_has_the_command_and_cannot_join_the_installation_with_it() {
    let folder = tempfile::tempdir().unwrap();
    let command = folder.path().join("bin/postern");
    let root = env!("CARGO_MANIFEST_DIR");
    let write = "source \"$1/hack/lib/command.sh\" && write_command \"$2\" \"$3\" https://it\\'s.example.com";
    let [file, binary] = [command.to_str().unwrap(), env!("CARGO_BIN_EXE_postern")];
    let done = Command::new("bash").args(["-c", write, "bash", root, file, binary]).status().unwrap();
    assert!(done.success());
    let start = |arguments: &[&str]| Command::new(&command).args(arguments).env_remove("KUBECONFIG").output().unwrap();
    for part in ["run", "serve", "control"] {
        let refused = start(&[part, "--issuer=https://postern.example.com"]);
        let said = String::from_utf8(refused.stderr).unwrap();
        assert_eq!(refused.status.code(), Some(2), "{said}");
        assert!(said.starts_with(&format!("postern: {part} would join the installation")), "{said}");
        assert!(said.contains("unset KUBECONFIG") && said.contains(binary) && said.lines().count() == 1, "{said}");
    }
    assert!(start(&["crds"]).status.success());
    let help = String::from_utf8(start(&["explain", "--help"]).stdout).unwrap();
    assert!(help.contains("--operator-namespace"), "{help}");
    assert_eq!(
        start(&["explain", "token", "pat_abc"]).status.code(),
        Some(2),
        "arguments and exit code are those of it"
    );
}

#[test]
fn the_variables_of_make_up_are_no_settings_of_a_process() {
    let up = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/hack/up")).unwrap();
    let names: Vec<&str> =
        up.lines().filter_map(|line| line.trim().strip_prefix("export_line ")?.split(' ').next()).collect();
    assert!(names.contains(&"POSTERN_CA"), "{names:?}");
    for part in ["run", "serve", "control"] {
        let help = String::from_utf8(postern(&[part, "--help"], &[]).output().unwrap().stdout).unwrap();
        assert!(help.contains("[env: POSTERN_ISSUER]"), "{help}");
        for name in &names {
            assert!(!help.contains(&format!("[env: {name}]")), "postern {part} takes {name}");
        }
    }
}

/// Killed when dropped.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Addresses that were free a moment ago. All sockets stay open until the last address is drawn: the kernel sometimes
/// returns an address again that was just released.
fn free() -> [SocketAddr; 3] {
    let held = [(); 3].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
    held.map(|listener| listener.local_addr().unwrap())
}

/// `postern run` with an API server that cannot be reached.
struct Server {
    process: Running,
    listen: SocketAddr,
    metrics: SocketAddr,
    health: SocketAddr,
    _folder: tempfile::TempDir,
}

impl Server {
    /// With these additional arguments; its standard output goes to `stdout`.
    fn start(arguments: &[&str], stdout: Stdio) -> Self {
        let ([listen, metrics, health], folder) = (free(), tempfile::tempdir().unwrap());
        let kubeconfig = folder.path().join("kubeconfig");
        let clusters = r#""clusters": [{"name": "x", "cluster": {"server": "http://127.0.0.1:1"}}]"#;
        let contexts =
            r#""contexts": [{"name": "x", "context": {"cluster": "x", "user": "x"}}], "current-context": "x""#;
        let users = r#""users": [{"name": "x", "user": {}}]"#;
        let text = format!(r#"{{"apiVersion": "v1", "kind": "Config", {clusters}, {contexts}, {users}}}"#);
        std::fs::write(&kubeconfig, text).unwrap();
        let common = [
            "run",
            "--insecure-http",
            "--issuer=http://postern.example.com",
            &format!("--listen={listen}"),
            &format!("--metrics-listen={metrics}"),
            &format!("--health-listen={health}"),
        ];
        let mut command = postern(&[&common[..], arguments].concat(), &[("KUBECONFIG", kubeconfig.to_str().unwrap())]);
        let process = Running(command.stdout(stdout).stderr(Stdio::null()).spawn().unwrap());
        Self { process, listen, metrics, health, _folder: folder }
    }

    /// A connection, as soon as the server listens.
    fn connect(&mut self, address: SocketAddr) -> TcpStream {
        loop {
            assert_eq!(self.process.0.try_wait().unwrap(), None, "it has ended");
            match TcpStream::connect(address) {
                Ok(stream) => return stream,
                Err(_) => std::thread::sleep(Duration::from_millis(20)),
            }
        }
    }

    /// The whole response.
    fn get(&mut self, address: SocketAddr, path: &str) -> String {
        let mut stream = self.connect(address);
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        stream.write_all(format!("GET {path} HTTP/1.1\r\nhost: p\r\nconnection: close\r\n\r\n").as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap_or_else(|error| panic!("no answer to {path}: {error}"));
        answer
    }
}

#[test]
fn with_insecure_http_the_endpoint_speaks_plain_http() {
    let mut server = Server::start(&[], Stdio::null());
    let answer = server.get(server.listen, "/.well-known/oauth-authorization-server");
    assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
}

/// Requests whose lines exceed the capacity of a pipe and the log's buffer together.
const REQUESTS: usize = 30_000;

#[test]
fn a_log_that_is_not_read_delays_neither_a_request_nor_the_shutdown() {
    let mut server = Server::start(&["--trusted-proxies=127.0.0.0/8"], Stdio::piped());
    let mut stream = server.connect(server.listen);
    stream.set_read_timeout(Some(Duration::from_mins(1))).unwrap();
    // From 500 networks, so that no limit suppresses a line.
    let mut writer = stream.try_clone().unwrap();
    let sender = std::thread::spawn(move || {
        for number in 0..REQUESTS {
            let close = if number + 1 == REQUESTS { "connection: close\r\n" } else { "" };
            let address = format!("10.{}.{}.1", number % 500 / 256, number % 500 % 256);
            let head =
                format!("GET /auth?anyone=true HTTP/1.1\r\nhost: p\r\nx-forwarded-for: {address}\r\n{close}\r\n");
            writer.write_all(head.as_bytes()).unwrap();
        }
    });
    let mut answers = Vec::new();
    stream.read_to_end(&mut answers).expect("every request is answered, although the log is not read");
    sender.join().unwrap();
    let answered = String::from_utf8(answers).unwrap().matches("HTTP/1.1 503 ").count();
    assert_eq!(answered, REQUESTS);
    let measured = server.get(server.metrics, "/metrics");
    let lost = measured.lines().find_map(|line| line.strip_prefix("postern_log_lines_lost_total "));
    assert!(lost.unwrap().parse::<u64>().unwrap() > 0, "the log did not stall: {measured}");

    let running = &mut server.process.0;
    let asked = Command::new("kill").arg(running.id().to_string()).status().unwrap();
    assert!(asked.success() && running.wait().unwrap().success());
}

/// Any pod can open connections and send nothing on them. A kubelet that gets no response restarts the process.
#[test]
fn thousands_of_idle_connections_silence_neither_health_nor_metrics() {
    let mut server = Server::start(&[], Stdio::null());
    let (metrics, health) = (server.metrics, server.health);
    for (flooded, connections) in [(metrics, 4_200), (health, 500)] {
        let idle: Vec<TcpStream> = (0..connections).map(|_| server.connect(flooded)).collect();
        assert!(server.get(health, "/livez").starts_with("HTTP/1.1 200 "));
        assert!(server.get(health, "/readyz").starts_with("HTTP/1.1 503 "), "it lacks an API server");
        assert!(server.get(metrics, "/metrics").starts_with("HTTP/1.1 200 "));
        drop(idle);
    }
}
