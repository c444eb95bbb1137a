//! ReplicaState: what one replica of the endpoint publishes to the other replicas. Internal.

use ipnet::IpNet;
use jiff::Timestamp;
use kube::{CustomResource, KubeSchema};
use serde::{Deserialize, Serialize};

use super::schema;

/// Maximum number of entries in one list of an object; more entries need several objects.
pub const ENTRIES_MAX: usize = 2_000;

/// What one replica of the endpoint publishes to the other replicas.
#[derive(CustomResource, Clone, Debug, Default, Deserialize, KubeSchema, PartialEq, Serialize)]
#[kube(
    group = "postern.dev",
    version = "v1alpha1",
    kind = "ReplicaState",
    plural = "replicastates",
    namespaced,
    doc = "ReplicaState is the state that one replica of the endpoint publishes to the others. Internal: Postern writes and deletes it, in its own namespace. Deleting one loses its list of revoked tokens.",
    derive = "PartialEq",
    printcolumn(name = "Replica", type_ = "string", json_path = ".spec.replica"),
    printcolumn(name = "Reported", type_ = "date", json_path = ".spec.reportedAt")
)]
#[serde(rename_all = "camelCase")]
pub struct ReplicaStateSpec {
    /// Name of the replica that wrote the object.
    #[schemars(length(min = 1, max = 253))]
    pub replica: String,
    /// When the object was written. It contains everything that happened before.
    #[schemars(schema_with = "schema::instant")]
    pub reported_at: Timestamp,
    /// Versions of secrets that were used in the last minutes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 2_000))]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub uses: Vec<LastUse>,
    /// Methods of client authentication that were used in the last minutes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 2_000))]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub methods: Vec<MethodUse>,
    /// Versions whose rotation their bearers requested in the last minutes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 2_000))]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub rotations: Vec<LastUse>,
    /// Wrong secrets that were presented for a client, until they no longer count.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 2_000))]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub wrong_secrets: Vec<WrongSecret>,
    /// Clients whose secrets are locked.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 2_000))]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub locks: Vec<ClientLock>,
    /// Revoked tokens, kept until they would have expired.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 2_000))]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub revoked: Vec<Revoked>,
    /// The applied revisions of the replica.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub serves: Option<AppliedRevisions>,
    /// The methods of client authentication that the settings of the replica admit, as in `spec.auth.methods` of an
    /// Application.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 20), inner(length(max = 64)))]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub auth_methods: Option<Vec<String>>,
    /// The keys that the replica uses.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keys: Option<KeysInUse>,
    /// Tokens with an idle timeout that were used.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 2_000))]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub sessions: Vec<SessionUse>,
}

impl ReplicaStateSpec {
    /// The last time at which the object matters to tokens or locks; `None`: it contains nothing about them.
    #[must_use]
    pub fn matters_until(&self) -> Option<Timestamp> {
        let revoked = self.revoked.iter().map(|revoked| revoked.until);
        let tokens = revoked.chain(self.sessions.iter().map(|session| session.until));
        let wrong = self.wrong_secrets.iter().map(|wrong| wrong.until);
        tokens.chain(wrong).chain(self.locks.iter().map(|lock| lock.until)).max()
    }
}

/// The newest resourceVersion of each kind that a replica serves. ResourceVersions of one kind compare as integers.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct AppliedRevisions {
    /// Of AccessGroups.
    pub access_groups: i64,
    /// Of ServiceUsers.
    pub service_users: i64,
    /// Of Applications.
    pub applications: i64,
    /// Of ClientSecrets.
    pub client_secrets: i64,
    /// Of Namespaces.
    pub namespaces: i64,
}

impl AppliedRevisions {
    /// The revisions that both serve.
    #[must_use]
    pub fn min(self, other: Self) -> Self {
        Self {
            access_groups: self.access_groups.min(other.access_groups),
            service_users: self.service_users.min(other.service_users),
            applications: self.applications.min(other.applications),
            client_secrets: self.client_secrets.min(other.client_secrets),
            namespaces: self.namespaces.min(other.namespaces),
        }
    }

    /// Whether all revisions in `needed` are served.
    #[must_use]
    pub fn covers(self, needed: Self) -> bool {
        self.min(needed) == needed
    }
}

/// Maximum number of keys in each list: more than an installation keeps.
pub const KEYS_MAX: usize = 400;

/// Ids of the signing keys and of the token keys that a replica uses.
#[derive(Clone, Debug, Default, Deserialize, Eq, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct KeysInUse {
    /// Keys whose tokens it accepts. It publishes those that sign JWTs.
    #[serde(default)]
    #[schemars(length(max = 400), inner(length(max = 64)))]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub accepted: Vec<String>,
    /// Keys that it issues tokens with, one for each algorithm.
    #[serde(default)]
    #[schemars(length(max = 400), inner(length(max = 64)))]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub signing: Vec<String>,
}

/// A revoked token.
#[derive(Clone, Debug, Deserialize, Eq, KubeSchema, PartialEq, Serialize)]
pub struct Revoked {
    /// Its `jti`.
    #[schemars(length(max = 64))]
    pub id: String,
    /// When the token would have expired.
    #[schemars(schema_with = "schema::instant")]
    pub until: Timestamp,
}

/// A used token.
#[derive(Clone, Debug, Deserialize, Eq, KubeSchema, PartialEq, Serialize)]
pub struct SessionUse {
    /// Its `jti`.
    #[schemars(length(max = 64))]
    pub id: String,
    /// Namespace of the Application that the token was issued for.
    #[serde(default)]
    #[schemars(length(max = 63))]
    pub namespace: String,
    /// When the token was last used.
    #[schemars(schema_with = "schema::instant")]
    pub at: Timestamp,
    /// When the token expires if it is not used again.
    #[schemars(schema_with = "schema::instant")]
    pub until: Timestamp,
}

/// A used method of client authentication.
#[derive(Clone, Debug, Deserialize, Eq, KubeSchema, PartialEq, Serialize)]
pub struct MethodUse {
    /// Namespace of the Application.
    #[schemars(length(max = 63))]
    pub namespace: String,
    /// Name of the Application.
    #[schemars(length(max = 253))]
    pub name: String,
    /// UID of the Application: another one of the same name has not used the method.
    #[schemars(length(max = 64))]
    pub uid: String,
    /// Name of the method in `spec.auth.methods`. Replicas of a later version may have further methods.
    #[schemars(length(max = 64))]
    pub method: String,
    /// When the method was last used.
    #[schemars(schema_with = "schema::instant")]
    pub at: Timestamp,
}

/// A wrong secret that was presented for a client.
#[derive(Clone, Debug, Deserialize, Eq, KubeSchema, PartialEq, Serialize)]
pub struct WrongSecret {
    /// Namespace of the Application.
    #[schemars(length(max = 63))]
    pub namespace: String,
    /// Name of the Application.
    #[schemars(length(max = 253))]
    pub name: String,
    /// UID of the Application: another one of the same name is another client.
    #[schemars(length(max = 64))]
    pub uid: String,
    /// Network of the caller. Absent: attempts from everywhere are counted together.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::network")]
    pub network: Option<IpNet>,
    /// Keyed MAC of the value, in hexadecimal.
    #[schemars(length(max = 16))]
    pub fingerprint: String,
    /// When the value was first presented.
    #[schemars(schema_with = "schema::instant")]
    pub at: Timestamp,
    /// The value counts until then.
    #[schemars(schema_with = "schema::instant")]
    pub until: Timestamp,
    /// Digest of the annotation `postern.dev/unlock` of the Application at that time.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 32))]
    pub unlock: String,
}

/// A client whose secrets are locked.
#[derive(Clone, Debug, Deserialize, Eq, KubeSchema, PartialEq, Serialize)]
pub struct ClientLock {
    /// Namespace of the Application.
    #[schemars(length(max = 63))]
    pub namespace: String,
    /// Name of the Application.
    #[schemars(length(max = 253))]
    pub name: String,
    /// UID of the Application: another one of the same name is another client.
    #[schemars(length(max = 64))]
    pub uid: String,
    /// The callers for whom the client is locked. Absent: all callers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::network")]
    pub network: Option<IpNet>,
    /// When the lock began.
    #[schemars(schema_with = "schema::instant")]
    pub at: Timestamp,
    /// When the lock ends.
    #[schemars(schema_with = "schema::instant")]
    pub until: Timestamp,
    /// Digest of the annotation `postern.dev/unlock` of the Application at that time. Another value ends the lock.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 32))]
    pub unlock: String,
}

/// One version of a secret, and the time of an event.
#[derive(Clone, Debug, Deserialize, Eq, KubeSchema, PartialEq, Serialize)]
pub struct LastUse {
    /// Namespace of the ClientSecret.
    #[schemars(length(max = 63))]
    pub namespace: String,
    /// Name of the ClientSecret.
    #[schemars(length(max = 253))]
    pub name: String,
    /// Id of the version.
    #[schemars(length(max = 8))]
    pub version: String,
    /// Time of the event.
    #[schemars(schema_with = "schema::instant")]
    pub at: Timestamp,
}
