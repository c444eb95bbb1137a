//! The command line. Every flag is an environment variable too; bad values end the program with one clear line.

mod common;
mod control;
mod error_format;
mod explain;
mod outbound;
mod policy;
mod serve;
mod size;
mod subject_alt_name;

use clap::{Args, Parser, Subcommand};

use crate::api::duration::{ConfigDuration, DurationOrNever, MalformedDuration};

pub use common::CommonArgs;
pub use control::ControlArgs;
pub use error_format::one_line;
pub use explain::{ExplainArgs, What};
pub use outbound::OutboundArgs;
pub use policy::PolicyArgs;
pub use serve::{ClientCertHeader, ServeArgs};

/// Machine credentials for Kubernetes: service users, OAuth clients and their secrets as custom resources, and the token
/// endpoint that honours them.
#[derive(Debug, Parser)]
#[command(name = "postern", version, max_term_width = 110)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the token endpoint and the controller in one process, for small installations.
    Run(Box<RunCommand>),
    /// Run the token endpoint. It serves clients, and writes only in the operator's own namespace.
    Serve(Box<ServeCommand>),
    /// Run the controller. It writes Secrets and status, and serves only health and metrics.
    Control(Box<ControlCommand>),
    /// Explain the effective permissions of a client or a token, who can call an API, or the verbs that a group requires.
    ///
    /// The command reads objects with your own rights, from the kubeconfig that kubectl uses. It changes nothing. Exit
    /// codes: 0 success; 1 not found, or a right is missing; 2 invalid arguments.
    Explain(Box<ExplainArgs>),
    /// Print the CustomResourceDefinitions as YAML.
    Crds,
}

/// The flags of `postern run`.
#[derive(Args, Clone, Debug)]
// Each of the two flags makes the other unnecessary, and only this command has both.
#[command(mut_arg("tls_san", |arg| arg.conflicts_with("tls_cert_file")))]
pub struct RunCommand {
    /// Those of every process.
    #[command(flatten)]
    pub common: CommonArgs,
    /// Those of the token endpoint.
    #[command(flatten)]
    pub serve: ServeArgs,
    /// Those of the controller.
    #[command(flatten)]
    pub control: ControlArgs,
}

/// The flags of `postern serve`.
#[derive(Args, Clone, Debug)]
pub struct ServeCommand {
    /// Those of every process.
    #[command(flatten)]
    pub common: CommonArgs,
    /// Those of the token endpoint.
    #[command(flatten)]
    pub serve: ServeArgs,
}

/// The flags of `postern control`.
#[derive(Args, Clone, Debug)]
pub struct ControlCommand {
    /// Those of every process.
    #[command(flatten)]
    pub common: CommonArgs,
    /// Those of the controller.
    #[command(flatten)]
    pub control: ControlArgs,
}

fn duration(text: &str) -> Result<ConfigDuration, MalformedDuration> {
    text.to_owned().try_into()
}

fn duration_or_never(text: &str) -> Result<DurationOrNever, MalformedDuration> {
    text.to_owned().try_into()
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_flag_is_an_environment_variable() {
        let command = Cli::command();
        let processes = ["run", "serve", "control"].map(|name| command.find_subcommand(name).unwrap());
        for flag in processes.iter().flat_map(|process| process.get_arguments()).filter(|it| it.get_id() != "help") {
            let expected = format!("POSTERN_{}", flag.get_id().as_str().to_uppercase());
            assert_eq!(flag.get_env().and_then(|name| name.to_str()), Some(expected.as_str()), "{}", flag.get_id());
        }
    }

    #[test]
    fn a_process_refuses_the_flags_of_the_other() {
        let parse = |process: &str, flag: &str| Cli::try_parse_from(["postern", process, "--issuer=https://a", flag]);
        for (flag, takes) in [
            ("--listen=127.0.0.1:1", ["run", "serve"]),
            ("--trusted-proxies=10.0.0.0/8", ["run", "serve"]),
            ("--tls-san=a", ["run", "control"]),
            ("--no-certificate", ["run", "control"]),
            ("--no-rollout", ["run", "control"]),
        ] {
            for process in ["run", "serve", "control"] {
                let parsed = parse(process, flag);
                assert_eq!(parsed.is_ok(), takes.contains(&process), "{process} {flag}: {parsed:?}");
            }
        }
    }

    #[test]
    fn a_restore_has_a_time_that_has_passed() {
        let parse = |time: &str| Cli::try_parse_from(["postern", "run", "--issuer=https://a", "--restored-at", time]);
        assert!(parse("2026-12-01T03:00:00Z").is_ok());
        for (time, problem) in
            [("2999-01-01T00:00:00Z", "in the future"), ("yesterday", "looks like 2026-12-01T03:00:00Z")]
        {
            let message = parse(time).unwrap_err().to_string();
            assert!(message.contains("--restored-at") && message.contains(problem), "{message}");
        }
    }

    #[test]
    fn a_setting_of_the_operator_has_the_same_flag_and_default_wherever_it_is_explained() {
        let command = Cli::command();
        let [run, explain] = ["run", "explain"].map(|name| command.find_subcommand(name).unwrap());
        let settings: Vec<_> = explain.get_arguments().filter(|flag| flag.get_env().is_some()).collect();
        assert_eq!(settings.len(), 15);
        for flag in settings {
            let same = run.get_arguments().find(|other| other.get_env() == flag.get_env()).unwrap();
            // `--namespace` has the same meaning as in kubectl here.
            let long = flag.get_long().map(|long| long.strip_prefix("operator-").unwrap_or(long));
            assert_eq!(long, same.get_long(), "{}", flag.get_id());
            assert_eq!(flag.get_default_values(), same.get_default_values(), "{}", flag.get_id());
        }
    }

    #[test]
    fn explain_accepts_the_flags_of_kubectl_before_and_after_its_arguments() {
        for arguments in [
            "--kubeconfig k --context c -n ns --as alice --as-group g client sync",
            "client sync --kubeconfig k --context c --namespace ns --as=alice --as-group=g",
            "--as-group g client sync --kubeconfig k --context c -n ns --as alice",
        ] {
            let arguments: Vec<&str> = arguments.split(' ').collect();
            let cli = Cli::try_parse_from([&["postern", "explain"], &arguments[..]].concat()).unwrap();
            let Command::Explain(explain) = cli.command else { panic!("{cli:?}") };
            let access = explain.access();
            assert_eq!(access.kubeconfig.as_deref(), Some(std::path::Path::new("k")));
            assert_eq!((access.context.as_deref(), access.namespace.as_deref()), (Some("c"), Some("ns")));
            assert_eq!((access.user.as_deref(), access.groups.as_slice()), (Some("alice"), &["g".to_owned()][..]));
            assert_eq!(explain.settings().operator_namespace, "postern-system", "--namespace is another one");
        }
        let refused = |flags: &[&str]| {
            Cli::try_parse_from([&["postern", "explain", "client", "sync"], flags].concat()).unwrap_err().to_string()
        };
        for flag in ["--context", "--namespace", "--as"] {
            assert!(refused(&[flag, ""]).contains(flag));
        }
    }

    #[test]
    fn a_bad_value_is_named_with_its_flag() {
        let parse = |args: &[&str]| Cli::try_parse_from([&["postern", "run", "--issuer", "https://a"], args].concat());
        let message = |args: &[&str]| parse(args).unwrap_err().to_string();
        assert!(message(&["--token-lifetime-max", "soon"]).contains("--token-lifetime-max"));
        assert!(message(&["--token-lifetime-max", "365d"]).contains("364d"));
        assert!(parse(&["--token-lifetime-max", "364d"]).is_ok());
        assert!(message(&["--objects-per-namespace", "0"]).contains("--objects-per-namespace"));
        assert!(message(&["--rotation-interval-min", "0s"]).contains("--rotation-interval-min"));
        assert!(message(&["--secrets-per-application", "0"]).contains("--secrets-per-application"));
        assert!(message(&["--tls-cert-file", "a"]).contains("--tls-key-file"));
        assert!(message(&["--insecure-http", "--tls-san", "a"]).contains("--insecure-http"));
        assert!(message(&["--tls-cert-file", "a", "--tls-key-file", "b", "--tls-san", "c"]).contains("--tls-san"));
        let refused = message(&["--tls-san", "a.example.com,exämple.com"]);
        assert!(refused.contains("--tls-san") && refused.contains("DNS name"), "{refused}");
        assert!(parse(&["--tls-san", "*.example.com,10.0.0.1,fd00::1"]).is_ok());
        assert!(message(&["--memory-limit", "256MB"]).contains("--memory-limit"));
        assert!(message(&["--trusted-proxies", "10.0.0.1"]).contains("--trusted-proxies"));
        for host in ["*", "https://a.example.com", "a.example.com/path"] {
            let refused = message(&["--outbound-hosts", host]);
            assert!(refused.contains("--outbound-hosts") && refused.contains("must be a host name"), "{refused}");
        }
        assert!(message(&["--outbound-private-networks", "10.0.0.1"]).contains("--outbound-private-networks"));
        assert!(parse(&["--outbound-hosts", "a.example.com:8443,*.example.com,[fd00::1]"]).is_ok());
        assert!(parse(&["--trusted-proxies", "10.0.0.0/8,fd00::/8"]).is_ok());
        assert!(parse(&[]).is_ok());
    }
}
