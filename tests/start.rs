//! The real binary, from its start to the moment at which it needs an API server.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "in tests a panic is the report; clippy's own exception covers test functions, not their helpers"
)]

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

/// `postern` without the environment of whoever runs the test.
fn postern(arguments: &[&str], environment: &[(&str, &str)]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_postern"));
    command.args(arguments).env_clear().envs(environment.iter().copied());
    command
}

/// What `postern run` says on standard error, which is one line, and its exit code.
fn refused(arguments: &[&str], environment: &[(&str, &str)]) -> (String, Option<i32>) {
    let Output { status, stdout, stderr } = postern(&[&["run"], arguments].concat(), environment).output().unwrap();
    let stderr = String::from_utf8(stderr).unwrap();
    assert!(stderr.ends_with('\n') && stderr.lines().count() == 1, "one line: {stderr:?}");
    assert!(stdout.is_empty());
    (stderr, status.code())
}

const ISSUER: &str = "--issuer=https://postern.example.com";

#[test]
fn bad_configuration_ends_at_start_with_one_line_that_names_it() {
    for (arguments, named) in [
        (&[][..], &["--issuer"][..]),
        (&[ISSUER, "--token-lifetime-max=soon"], &["--token-lifetime-max", "'soon'"]),
        (&[ISSUER, "--token-lifetime-max=365d"], &["--token-lifetime-max", "'365d'", "364d"]),
        (&[ISSUER, "--secrets-per-application=0"], &["--secrets-per-application", "'0'", "1..=1000"]),
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
fn what_a_flag_means_is_checked_before_anything_is_done() {
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

/// Killed when dropped.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Two addresses that were free a moment ago. Both are held until the second is drawn: the kernel sometimes gives the one
/// that it has just got back.
fn free() -> [SocketAddr; 2] {
    let held = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
    held.map(|listener| listener.local_addr().unwrap())
}

/// Starts `postern run` with plain HTTP and an API server that does not exist: the endpoint answers that it knows nothing
/// yet. Returns the process, a connection to it, and the address of its metrics.
fn start(folder: &Path, arguments: &[&str], stdout: Stdio) -> (Running, TcpStream, SocketAddr) {
    let [listen, metrics] = free();
    let kubeconfig = folder.join("kubeconfig");
    let clusters = r#""clusters": [{"name": "x", "cluster": {"server": "http://127.0.0.1:1"}}]"#;
    let contexts = r#""contexts": [{"name": "x", "context": {"cluster": "x", "user": "x"}}], "current-context": "x""#;
    let users = r#""users": [{"name": "x", "user": {}}]"#;
    let text = format!(r#"{{"apiVersion": "v1", "kind": "Config", {clusters}, {contexts}, {users}}}"#);
    std::fs::write(&kubeconfig, text).unwrap();
    let (listening, measured) = (format!("--listen={listen}"), format!("--metrics-listen={metrics}"));
    let common = ["run", "--insecure-http", "--issuer=http://postern.example.com", &listening, &measured];
    let mut command = postern(&[&common, arguments].concat(), &[("KUBECONFIG", kubeconfig.to_str().unwrap())]);
    let mut running = Running(command.stdout(stdout).stderr(Stdio::null()).spawn().unwrap());
    let stream = loop {
        assert_eq!(running.0.try_wait().unwrap(), None, "it has ended");
        match TcpStream::connect(listen) {
            Ok(stream) => break stream,
            Err(_) => std::thread::sleep(Duration::from_millis(20)),
        }
    };
    (running, stream, metrics)
}

/// What the process answers to this request head, which asks it to close the connection.
fn answer(mut stream: TcpStream, head: &str) -> String {
    stream.write_all(head.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn with_insecure_http_the_endpoint_speaks_plain_http() {
    let folder = tempfile::tempdir().unwrap();
    let (_running, stream, _) = start(folder.path(), &[], Stdio::null());
    let head = "GET /.well-known/oauth-authorization-server HTTP/1.1\r\nhost: p\r\nconnection: close\r\n\r\n";
    let answer = answer(stream, head);
    assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
}

/// Requests whose lines are more than a pipe and the log's buffer together hold.
const REQUESTS: usize = 30_000;

#[test]
fn a_log_that_is_not_read_delays_neither_a_request_nor_the_end() {
    let folder = tempfile::tempdir().unwrap();
    let (mut running, mut stream, metrics) = start(folder.path(), &["--trusted-proxies=127.0.0.0/8"], Stdio::piped());
    stream.set_read_timeout(Some(Duration::from_mins(1))).unwrap();
    // From 500 networks, so that no line is left out because of a limit.
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
    let metrics = TcpStream::connect(metrics).unwrap();
    let measured = answer(metrics, "GET /metrics HTTP/1.1\r\nhost: p\r\nconnection: close\r\n\r\n");
    let lost = measured.lines().find_map(|line| line.strip_prefix("postern_log_lines_lost_total "));
    assert!(lost.unwrap().parse::<u64>().unwrap() > 0, "the log did not stall: {measured}");

    let asked = Command::new("kill").arg(running.0.id().to_string()).status().unwrap();
    assert!(asked.success() && running.0.wait().unwrap().success());
}
