//! The API server's audit log: who asked for what, and was it allowed.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use serde_json::Value;

use super::controlplane::OPERATOR_NAMESPACE;
use super::replica::Part;

/// One answered request.
#[derive(Clone, Debug)]
pub struct Entry {
    pub user: String,
    pub verb: String,
    pub group: String,
    /// With its subresource, as in RBAC: `clientsecrets/status`.
    pub resource: String,
    pub namespace: String,
    pub name: String,
    /// Path and query of the request.
    pub uri: String,
    pub status: u64,
    /// Whether RBAC allowed it; admission may have refused it all the same.
    pub authorized: bool,
}

impl Entry {
    /// Whether it was allowed and meant to change something. A review is created, and not stored.
    pub fn is_write(&self) -> bool {
        let is_stored = self.resource != "tokenreviews";
        is_stored
            && ["create", "update", "patch", "delete", "deletecollection"].contains(&self.verb.as_str())
            && self.status < 300
    }
}

/// The log, read on from where the last look ended.
pub struct AuditLog {
    path: PathBuf,
    read: Mutex<(u64, Vec<Entry>)>,
}

impl AuditLog {
    /// What is logged from now on.
    pub fn new(path: PathBuf) -> Self {
        let so_far = std::fs::metadata(&path).expect("find the audit log").len();
        Self { path, read: Mutex::new((so_far, Vec::new())) }
    }

    /// All that was logged since the control plane started.
    pub fn from_start(path: PathBuf) -> Self {
        Self { path, read: Mutex::default() }
    }

    /// What the processes of one part were answered so far.
    pub fn of(&self, part: Part) -> Vec<Entry> {
        let user = user(part);
        self.of_the_operator().into_iter().filter(|entry| entry.user == user).collect()
    }

    /// What the operator's ServiceAccounts were answered so far.
    pub fn of_the_operator(&self) -> Vec<Entry> {
        let users = [Part::Run, Part::Serve, Part::Control].map(user);
        let mut read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        let mut file = File::open(&self.path).expect("open the audit log");
        file.seek(SeekFrom::Start(read.0)).expect("seek in the audit log");
        let mut text = String::new();
        file.read_to_string(&mut text).expect("read the audit log");
        // The last line may be half written.
        let whole = text.rfind('\n').map_or("", |end| &text[..=end]);
        read.0 += whole.len() as u64;
        read.1.extend(whole.lines().filter_map(parse).filter(|entry| users.contains(&entry.user)));
        read.1.clone()
    }

    /// All that the operator wrote, wherever it was.
    pub fn writes(&self) -> Vec<Entry> {
        self.of_the_operator().into_iter().filter(Entry::is_write).collect()
    }

    /// What the operator wrote in a namespace, as `VERB RESOURCE NAME`; events and leases are not counted.
    pub fn writes_in(&self, namespace: &str) -> Vec<String> {
        let counted = |entry: &&Entry| !["events", "leases"].contains(&entry.resource.as_str());
        let writes = self.writes();
        let here = writes.iter().filter(|entry| entry.namespace == namespace).filter(counted);
        here.map(|entry| format!("{} {} {}", entry.verb, entry.resource, entry.name)).collect()
    }
}

fn user(part: Part) -> String {
    format!("system:serviceaccount:{OPERATOR_NAMESPACE}:{}", part.account())
}

fn parse(line: &str) -> Option<Entry> {
    let line: Value = serde_json::from_str(line).expect("JSON in the audit log");
    let text = |pointer: &str| line.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
    let object = line.get("objectRef")?;
    let subresource = object.get("subresource").and_then(Value::as_str);
    let resource = text("/objectRef/resource");
    Some(Entry {
        user: text("/user/username"),
        verb: text("/verb"),
        group: text("/objectRef/apiGroup"),
        resource: subresource.map_or(resource.clone(), |subresource| format!("{resource}/{subresource}")),
        namespace: text("/objectRef/namespace"),
        name: text("/objectRef/name"),
        uri: text("/requestURI"),
        authorized: line["annotations"]["authorization.k8s.io/decision"] == "allow",
        status: line.pointer("/responseStatus/code").and_then(Value::as_u64).unwrap_or_default(),
    })
}
