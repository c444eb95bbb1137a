//! The fixtures of the tests: a control plane, the operator, and ways to inspect both.

mod audit;
mod backend;
mod cluster;
mod controlplane;
mod eventually;
mod fixtures;
pub mod http;
mod kubernetes;
mod process;
mod proxy;
mod rbac_user;
mod replica;
mod secret_scan;
mod test_namespace;
mod token;

pub use audit::{AuditLog, Entry};
pub use backend::{example, start_api};
pub use cluster::Cluster;
pub use controlplane::{ControlPlane, OPERATOR_NAMESPACE, RELEASE, checkout, output};
pub use eventually::{ensure, eventually};
pub use fixtures::{access_group, application, client_secret, object, service_user};
pub use kubernetes::Kubernetes;
pub use process::Process;
pub use proxy::{CrashPoint, Proxy};
pub use rbac_user::User;
pub use replica::{Part, Replica, free_port};
pub use secret_scan::{Place, leaks, secret_material};
pub use test_namespace::{TestNamespace, condition};
pub use token::Credential;
