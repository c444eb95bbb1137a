//! `hack/controlplane/build` uses existing programs and builds the others, once. The Go of these tests is a script: it
//! records the requested program, and writes a file in place of the program.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a panic is the report")]

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

const PROGRAMS: [&str; 5] = ["etcd", "kube-apiserver", "kube-controller-manager", "kubectl", "helm"];
/// The programs that `KUBEBUILDER_ASSETS` contains.
const OF_ENVTEST: [&str; 3] = ["etcd", "kube-apiserver", "kubectl"];

#[test]
fn a_folder_with_all_the_programs_is_used_and_nothing_is_built() {
    let machine = Machine::new();
    let folder = machine.programs("mine", &PROGRAMS);
    let bin = machine.build(&[("POSTERN_TESTENV_BIN", &folder)]);
    for program in PROGRAMS {
        assert_eq!(fs::read_to_string(bin.join(program)).unwrap(), format!("mine {program}"));
    }
    assert!(machine.built().is_empty(), "{:?}", machine.built());
}

#[test]
fn the_three_programs_of_envtest_are_used_and_the_others_are_built() {
    let machine = Machine::new();
    // An envtest file with the name of another program is a different program.
    let folder = machine.programs("envtest", &PROGRAMS);
    let bin = machine.build(&[("KUBEBUILDER_ASSETS", &folder)]);
    for program in PROGRAMS {
        let theirs = fs::read_to_string(bin.join(program)).unwrap() == format!("envtest {program}");
        assert_eq!(theirs, OF_ENVTEST.contains(&program), "{program}");
    }
    assert_eq!(machine.built(), ["helm", "kube-controller-manager"]);
}

#[test]
fn programs_in_postern_testenv_bin_take_precedence_over_those_of_envtest() {
    let machine = Machine::new();
    let (mine, envtest) = (machine.programs("mine", &["etcd"]), machine.programs("envtest", &OF_ENVTEST));
    let bin = machine.build(&[("POSTERN_TESTENV_BIN", &mine), ("KUBEBUILDER_ASSETS", &envtest)]);
    assert_eq!(fs::read_to_string(bin.join("etcd")).unwrap(), "mine etcd");
    assert_eq!(fs::read_to_string(bin.join("kubectl")).unwrap(), "envtest kubectl");
}

#[test]
fn a_postern_testenv_bin_that_is_no_folder_is_named() {
    let machine = Machine::new();
    let output = machine.command().env("POSTERN_TESTENV_BIN", "/no/such/folder").output().unwrap();
    assert!(!output.status.success());
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("POSTERN_TESTENV_BIN names no folder: /no/such/folder"), "{said}");
}

#[test]
fn built_programs_are_kept_and_incomplete_ones_are_built_again() {
    let machine = Machine::new();
    let bin = machine.build(&[]);
    let all = ["etcd", "helm", "kube-apiserver", "kube-controller-manager", "kubectl"];
    assert_eq!(machine.built(), all);
    assert_eq!(machine.build(&[]), bin);
    assert_eq!(machine.built(), all, "nothing is built twice");

    let whole = fs::read(bin.join("etcd")).unwrap();
    fs::write(bin.join("etcd"), whole.get(..3).unwrap()).unwrap();
    fs::remove_file(bin.join("helm")).unwrap();
    assert_eq!(machine.build(&[]), bin);
    assert_eq!(machine.built().len(), all.len() + 2, "these two, and no other: {:?}", machine.built());
    assert_eq!(fs::read(bin.join("etcd")).unwrap(), whole);
    assert!(bin.join("helm").exists());
}

#[test]
fn one_of_two_concurrent_builds_builds_and_the_other_uses_the_result() {
    let machine = Machine::new();
    // Go waits for this file.
    fs::remove_file(machine.may_go_on()).unwrap();
    let mut first = machine.start();
    says(&mut first, "Building");
    let mut second = machine.start();
    says(&mut second, "Waiting for another build");
    fs::write(machine.may_go_on(), "").unwrap();
    let (first, second) = (first.wait_with_output().unwrap(), second.wait_with_output().unwrap());
    assert!(first.status.success() && second.status.success());
    assert_eq!(first.stdout, second.stdout);
    assert_eq!(machine.built().len(), PROGRAMS.len(), "{:?}", machine.built());
}

/// Reads until a line of the messages has this prefix.
fn says(build: &mut Child, what: &str) {
    let messages = BufReader::new(build.stderr.take().unwrap());
    let mut lines = messages.lines().map(|line| line.unwrap());
    assert!(lines.any(|line| line.starts_with(what)), "it ends without: {what}");
    // The writer needs an open reader.
    std::thread::spawn(move || lines.for_each(drop));
}

/// A machine with a dedicated cache and a fake Go.
struct Machine {
    folder: TempDir,
}

impl Machine {
    fn new() -> Self {
        let machine = Self { folder: tempfile::tempdir().expect("a folder") };
        let go = format!(
            "#!/usr/bin/env bash\n\
             until [[ -e '{go_on}' ]]; do sleep 0.02; done\n\
             while [[ $1 != -o ]]; do shift; done\n\
             echo \"${{2##*/}}\" >>'{built}'\n\
             echo \"built ${{2##*/}}\" >\"$2\" && chmod +x \"$2\"\n",
            go_on = machine.may_go_on().display(),
            built = machine.path("built").display(),
        );
        fs::write(machine.may_go_on(), "").unwrap();
        fs::create_dir(machine.path("path")).unwrap();
        executable(&machine.path("path/go"), &go);
        machine
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn may_go_on(&self) -> PathBuf {
        self.path("go-on")
    }

    /// A folder of existing programs.
    fn programs(&self, name: &str, programs: &[&str]) -> PathBuf {
        let folder = self.path(name);
        fs::create_dir(&folder).unwrap();
        for program in programs {
            executable(&folder.join(program), &format!("{name} {program}"));
        }
        folder
    }

    /// The programs that Go was asked for so far, sorted by name.
    fn built(&self) -> Vec<String> {
        let mut built: Vec<String> =
            fs::read_to_string(self.path("built")).unwrap_or_default().lines().map(str::to_owned).collect();
        built.sort();
        built
    }

    fn command(&self) -> Command {
        let mut command = Command::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("hack/controlplane/build"));
        let path = std::env::var("PATH").expect("a PATH");
        command
            .env("PATH", format!("{}:{path}", self.path("path").display()))
            .env("XDG_CACHE_HOME", self.path("cache"))
            .env_remove("POSTERN_TESTENV_BIN")
            .env_remove("KUBEBUILDER_ASSETS")
            .stdin(Stdio::null());
        command
    }

    fn start(&self) -> Child {
        self.command().stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("run hack/controlplane/build")
    }

    /// Runs the script, which must succeed. Returns the folder that it prints.
    fn build(&self, environment: &[(&str, &PathBuf)]) -> PathBuf {
        let output = self.command().envs(environment.iter().copied()).output().expect("run hack/controlplane/build");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().trim().into()
    }
}

fn executable(path: &Path, text: &str) {
    fs::write(path, text).unwrap();
    fs::set_permissions(path, PermissionsExt::from_mode(0o755)).unwrap();
}
