//! The certificates that cert-manager issues, with the objects and the commands of docs/authentication.md.

use std::path::PathBuf;
use std::process::Command;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};

use super::issued::Pair;
use super::{DNS, Scene};
use crate::examples::snippet::{Snippet, snippets};
use crate::harness::{OPERATOR_NAMESPACE, Process, checkout, condition, ensure, eventually, output};

/// Where the chart of cert-manager installs it, and where it reads the Secret of a ClusterIssuer.
const NAMESPACE: &str = "cert-manager";
const SPIFFE: &str = "spiffe://example.com/ns/billing/sa/invoice-sync";

#[tokio::test]
async fn a11_certificates_of_cert_manager_authenticate_also_after_their_renewal() {
    let scene = Scene::new("cert-manager", &[]).await;
    let cert_manager = CertManager::start(&scene).await;
    cert_manager.apply_documentation().await;
    let (mut revision, mut certificate) = cert_manager.issued("invoice-sync", 1).await;
    cert_manager.trust_ca().await;
    scene.accepts(&scene.mtls, &certificate).await;

    for _ in 0..2 {
        cert_manager.renew("invoice-sync").await;
        let renewed;
        (revision, renewed) = cert_manager.issued("invoice-sync", revision + 1).await;
        assert_ne!(renewed.certificate, certificate.certificate);
        assert_ne!(renewed.key, certificate.key, "the default of cert-manager is a new key");
        let answer = scene.curl(&scene.mtls, Some(&renewed), &[]);
        assert!(answer["access_token"].is_string(), "{answer}");
        certificate = renewed;
    }
    cert_manager.remove();
}

#[tokio::test]
async fn a11_only_certificates_of_cert_manager_with_a_registered_name_authenticate() {
    let scene = Scene::new("cert-manager-names", &[]).await;
    let cert_manager = CertManager::start(&scene).await;
    cert_manager.apply_documentation().await;
    let subject = json!({"commonName": "invoice-sync", "subject": {"organizations": ["Example, Inc."]}});
    cert_manager.request("uri", json!({"uris": [SPIFFE], "privateKey": {"algorithm": "ECDSA", "size": 384}})).await;
    cert_manager.request("subject", subject).await;
    cert_manager.request("other", json!({"dnsNames": ["other.billing.svc"], "commonName": DNS})).await;
    cert_manager.request("server", json!({"dnsNames": [DNS], "usages": ["server auth"]})).await;
    cert_manager.request("untrusted", json!({"dnsNames": [DNS], "issuerRef": issuer("self-signed")})).await;

    let (_, subject) = cert_manager.issued("subject", 1).await;
    let (dns, uri, dn) =
        (json!({"sanDns": DNS}), json!({"sanUri": SPIFFE}), json!({"subjectDn": dn_of(&scene, &subject)}));
    scene.register(&json!([dns, uri, dn])).await;
    cert_manager.trust_ca().await;
    for accepted in ["invoice-sync", "uri", "subject"] {
        scene.accepts(&scene.mtls, &cert_manager.issued(accepted, 1).await.1).await;
    }
    for (refused, rule) in
        [("other", "CertificateUnknown"), ("server", "CertificatePurpose"), ("untrusted", "CertificateUntrusted")]
    {
        let answer = scene.curl(&scene.mtls, Some(&cert_manager.issued(refused, 1).await.1), &[]);
        assert_eq!(answer["error"], "invalid_client", "{refused}: {answer}");
        eventually(format_args!("the audit log has {rule}"), async || {
            let log = std::fs::read_to_string(&scene.replica.log).expect("the log of the replica");
            ensure(log.contains(&format!(r#""rule":"{rule}""#)), "not yet")
        })
        .await;
    }
    cert_manager.remove();
}

/// The subject, as the documentation says.
fn dn_of(scene: &Scene, pair: &Pair) -> String {
    let file = scene.folder.path().join("subject.crt");
    std::fs::write(&file, &pair.certificate).expect("write the certificate");
    let mut openssl = Command::new("openssl");
    let printed = output(openssl.args(["x509", "-noout", "-subject", "-nameopt", "RFC2253", "-in"]).arg(file));
    printed.trim().strip_prefix("subject=").expect("a subject").to_owned()
}

fn issuer(name: &str) -> Value {
    json!({"name": name, "kind": "ClusterIssuer"})
}

/// cert-manager on the control plane of a scene.
struct CertManager<'a> {
    scene: &'a Scene,
    process: Process,
    crds: PathBuf,
    log: PathBuf,
}

impl<'a> CertManager<'a> {
    /// Installs its CRDs and starts it.
    async fn start(scene: &'a Scene) -> Self {
        let built = PathBuf::from(output(&mut Command::new(checkout().join("hack/build-cert-manager"))).trim());
        let (controlplane, crds) = (&scene.tenant.cluster.controlplane, built.join("crds"));
        let file = crds.to_str().expect("a path in UTF-8");
        controlplane.run("kubectl", &["apply", "--server-side", "--filename", file]);
        controlplane.run("kubectl", &["wait", "--for", "condition=Established", "--filename", file]);
        let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}});
        scene.tenant.kubernetes.apply("", &namespace).await;

        let mut command = Command::new(built.join("cert-manager"));
        command.env("KUBECONFIG", controlplane.kubeconfig());
        let log = controlplane.scratch().join("cert-manager-controllers.log");
        let process = Process::start("cert-manager", &command, &log);
        Self { scene, process, crds, log }
    }

    /// Ends it, and removes its definitions with all objects: another test can use the control plane.
    fn remove(self) {
        self.process.kill();
        let file = self.crds.to_str().expect("a path in UTF-8");
        self.scene.tenant.cluster.controlplane.run("kubectl", &["delete", "--filename", file]);
    }

    /// Applies what the documentation shows; the namespace of the team is that of the test.
    async fn apply_documentation(&self) {
        let documents = documentation("yaml").into_iter().flat_map(|snippet| snippet.documents());
        let objects: Vec<Value> = documents.filter(|object| object["apiVersion"] == "cert-manager.io/v1").collect();
        assert_eq!(objects.len(), 4);
        for mut object in objects {
            if object["metadata"]["namespace"] == "billing" {
                object["metadata"]["namespace"] = self.scene.tenant.namespace.clone().into();
            }
            self.apply(&object).await;
        }
    }

    /// Gives Postern the CA with the commands of the documentation.
    async fn trust_ca(&self) {
        let commands: Vec<_> = documentation("sh")
            .into_iter()
            .filter(|block| block.text.contains("create secret generic client-ca"))
            .collect();
        let [commands] = &commands[..] else { panic!("{} blocks of commands", commands.len()) };
        self.scene.tenant.cluster.controlplane.shell(&commands.text);
        let secret = self.scene.tenant.kubernetes.get("Secret", OPERATOR_NAMESPACE, "client-ca").await;
        assert_eq!(secret["data"].as_object().expect("entries").len(), 1);
        // As the kubelet does in the folder that the chart mounts.
        std::fs::write(self.scene.client_ca(), entry(&secret, "ca.crt")).expect("write the CA");
    }

    /// Requests a certificate with these fields, and otherwise like that of the documentation.
    async fn request(&self, name: &str, fields: Value) {
        let mut spec =
            json!({"secretName": format!("{name}-client"), "usages": ["client auth"], "issuerRef": issuer("clients")});
        spec.as_object_mut().expect("fields").extend(fields.as_object().expect("fields").clone());
        let metadata = json!({"name": name, "namespace": self.scene.tenant.namespace});
        let certificate =
            json!({"apiVersion": "cert-manager.io/v1", "kind": "Certificate", "metadata": metadata, "spec": spec});
        self.apply(&certificate).await;
    }

    /// Right after the CRD was established, the API server may not serve its objects yet.
    async fn apply(&self, object: &Value) {
        let namespace = object["metadata"]["namespace"].as_str().unwrap_or_default();
        eventually(format_args!("cert-manager has {}", object["metadata"]["name"]), async || {
            self.scene.tenant.kubernetes.try_apply(namespace, object).await
        })
        .await;
    }

    /// The files of a certificate, as its Secret has them, after cert-manager has issued it so many times or more: on a busy
    /// machine its controllers may issue it twice. Also how often it was issued.
    async fn issued(&self, name: &str, times: u64) -> (u64, Pair) {
        let what = format!("cert-manager issues {name} (log: {})", self.log.display());
        let revision = eventually(what, async || {
            let certificate = self.scene.tenant.get("Certificate", name).await;
            let is_ready = condition(&certificate, "Ready").is_some_and(|ready| ready["status"] == "True");
            let status = &certificate["status"];
            let revision = status["revision"].as_u64().filter(|revision| is_ready && *revision >= times);
            revision.ok_or_else(|| format!("{status:#}"))
        })
        .await;
        let secret = self.scene.tenant.get("Secret", &format!("{name}-client")).await;
        (revision, Pair { certificate: entry(&secret, "tls.crt"), key: entry(&secret, "tls.key") })
    }

    /// As `cmctl renew` does.
    async fn renew(&self, name: &str) {
        let tenant = &self.scene.tenant;
        eventually(format_args!("{name} is to be issued again"), async || {
            let certificate = tenant.get("Certificate", name).await;
            let mut conditions = certificate["status"]["conditions"].as_array().cloned().unwrap_or_default();
            conditions.push(json!({
                "type": "Issuing", "status": "True", "reason": "ManuallyTriggered",
                "message": "Certificate re-issuance manually triggered",
                "observedGeneration": certificate["metadata"]["generation"],
            }));
            // The list replaces that of the object: no condition that cert-manager writes now may be lost.
            let metadata = json!({"resourceVersion": certificate["metadata"]["resourceVersion"]});
            let patch = json!({"metadata": metadata, "status": {"conditions": conditions}});
            tenant.merge_status("Certificate", &tenant.namespace, name, patch).await
        })
        .await;
    }
}

/// The blocks of docs/authentication.md in one language.
fn documentation(language: &str) -> Vec<Snippet> {
    let page = checkout().join("docs/authentication.md").display().to_string();
    snippets(&[language]).into_iter().filter(|snippet| snippet.place.starts_with(&page)).collect()
}

fn entry(secret: &Value, name: &str) -> String {
    let encoded = secret["data"][name].as_str().unwrap_or_else(|| panic!("no {name} in {}", secret["metadata"]));
    let decoded = BASE64_STANDARD.decode(encoded).expect("base64");
    String::from_utf8(decoded).expect("PEM")
}
