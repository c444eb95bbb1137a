//! What needs a hundred clients: the start, the tokens a second, and the end of each.

use hyper::body::Bytes;

use crate::cluster::{Cluster, Shape, namespace};
use crate::operator::Replica;
use crate::{
    Result, authority_change_latency, handshakes, introspection, methods, revocation, scratch, startup, tokens,
};

/// A hundred clients, with a secret each.
pub const SHAPE: Shape = Shape { groups: 5, namespaces: 4, users: 20, applications: 100, secrets: 100 };

/// What both are measured with.
pub struct Subject {
    /// The issuer that every operator of the section is started with.
    pub issuer: String,
    /// The CA that operators without `--insecure-http` make for themselves.
    pub ca: String,
    /// Client ids with their secrets.
    pub credentials: Vec<(String, String)>,
}

impl Subject {
    /// The body of a token request for each client.
    pub fn bodies(&self) -> Vec<String> {
        self.credentials.iter().map(|(id, secret)| body(id, secret)).collect()
    }

    /// The form of a client with one more field.
    pub fn form(&self, number: usize, name: &str, value: &str) -> Result<Bytes> {
        let (id, secret) = self.credentials.get(number).ok_or("no such client")?;
        let mut form = form_urlencoded::Serializer::new(body(id, secret));
        Ok(Bytes::from(form.append_pair(name, value).finish()))
    }

    /// The body of the first client.
    pub fn body(&self) -> Bytes {
        self.credentials.first().map(|(id, secret)| Bytes::from(body(id, secret))).unwrap_or_default()
    }
}

/// The body of a token request.
pub fn body(id: &str, secret: &str) -> String {
    form_urlencoded::Serializer::new(String::new())
        .append_pair("grant_type", "client_credentials")
        .append_pair("client_id", id)
        .append_pair("client_secret", secret)
        .finish()
}

/// Measures the section.
pub async fn measure() -> Result<()> {
    let cluster = Cluster::connect().await?;
    let subject = subject(&cluster).await?;
    std::fs::write(scratch()?.join("bodies"), serde_json::to_vec(&subject.bodies())?)?;
    startup::measure(&subject).await?;
    tokens::measure(&subject).await?;
    methods::measure(&cluster, &subject).await?;
    handshakes::measure(&subject).await?;
    introspection::measure(&cluster, &subject).await?;
    authority_change_latency::measure(&cluster, &subject).await?;
    revocation::measure(&cluster, &subject).await
}

/// Applies the clients and lets an operator issue their secrets, which is then stopped.
pub async fn subject(cluster: &Cluster) -> Result<Subject> {
    let replica = Replica::new("preparing", "https://postern.example.com", false)?;
    let _running = replica.start(None)?;
    let ready = cluster.all_ready(SHAPE.secrets);
    cluster.prepare(&SHAPE).await?;
    cluster.users(&SHAPE).await?;
    cluster.applications(&SHAPE).await?;
    cluster.secrets(&SHAPE).await?;
    ready.await??;
    let mut credentials = Vec::new();
    for number in 0..SHAPE.secrets {
        let namespace = namespace(SHAPE.application_of(number) % SHAPE.namespaces);
        let secret = cluster.delivered(&namespace, &format!("secret-{number}")).await?;
        let data = secret.data.unwrap_or_default();
        let text = |key: &str| -> Result<String> {
            let value = data.get(key).ok_or_else(|| format!("secret-{number} has no {key}"))?;
            Ok(String::from_utf8(value.0.clone())?)
        };
        credentials.push((text("client-id")?, text("client-secret")?));
    }
    Ok(Subject { issuer: "https://postern.example.com".to_owned(), ca: cluster.operator_ca().await?, credentials })
}
