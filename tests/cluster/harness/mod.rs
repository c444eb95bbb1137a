//! The fixtures of the tests: a control plane, the operator, and ways to inspect both.

mod audit;
mod cluster;
mod controlplane;
mod eventually;
pub mod http;
mod kubernetes;
mod leaks;
mod objects;
mod process;
mod proxy;
mod replica;
mod tenant;
mod token;
mod upstream;
mod user;

pub use audit::Entry;
pub use cluster::Cluster;
pub use controlplane::{ControlPlane, OPERATOR_NAMESPACE, RELEASE, checkout, output};
pub use eventually::{eventually, holds};
pub use kubernetes::Kubernetes;
pub use leaks::{Place, leaks, private};
pub use objects::{access_group, application, client_secret, object, service_user};
pub use process::Process;
pub use proxy::{Moment, Proxy};
pub use replica::{Part, Replica, free_port};
pub use tenant::{Tenant, condition, others_have_ended};
pub use token::Credential;
pub use upstream::{example, start_api};
pub use user::User;
