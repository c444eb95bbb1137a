//! Creates, patches, removes and reads the delivered Secret. Each write has a precondition, and changes only Secrets
//! that Postern owns.

use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::{DeleteParams, Patch, Preconditions};
use kube::core::Status;
use kube::{Api, ResourceExt};

use super::inspected::{Finding, fingerprint};
use super::issued_value::IssuedValue;
use super::secret_content::{Difference, Wanted};
use crate::api::ClientSecret;
use crate::api::names::SECRET_TYPE;
use crate::api::precedence::uid_number;
use crate::cache::{DeliveredSecret, ObjectRef, revision};
use crate::clock::Clock;
use crate::controller::runtime::write_params;
use crate::controller::{Context, Error};
use crate::plan::ownership::Ownership;
use crate::plan::secret_content::Content;

/// The result of an attempt to create the Secret.
#[derive(Eq, PartialEq)]
pub(crate) enum Created {
    /// The Secret contains the value, and has this UID.
    Done(Option<u128>),
    /// A Secret of that name exists.
    AlreadyExists,
}

impl<C: Clock> Context<C> {
    /// Creates the delivered Secret. The API server decides the race: one `create` succeeds.
    pub(crate) async fn create(
        &self,
        owner: &ClientSecret,
        value: &IssuedValue,
        content: &Content,
    ) -> Result<Created, Error> {
        let wanted = self.wanted(owner, value, content)?;
        let secret = Secret {
            metadata: ObjectMeta {
                name: Some(owner.spec.secret_name(&owner.metadata).to_owned()),
                labels: Some(wanted.labels.clone()),
                annotations: Some(wanted.annotations.clone()),
                owner_references: wanted.owner.clone().map(|reference| vec![reference]),
                ..ObjectMeta::default()
            },
            type_: Some(SECRET_TYPE.to_owned()),
            data: Some(wanted.data.clone()),
            ..Secret::default()
        };
        let with = write_params::create();
        match self.secrets(owner).create(&with, &secret).await {
            Ok(answer) => {
                self.is_as_written("create", owner, content, &wanted, &answer)?;
                Ok(Created::Done(uid_number(&answer.metadata)))
            }
            Err(kube::Error::Api(status)) if status.is_already_exists() => Ok(Created::AlreadyExists),
            Err(source) => Err(redact_error("create", owner, &wanted, source)),
        }
    }

    /// Writes the value and its metadata into the Secret, on the condition that it is unchanged since `found`.
    ///
    /// Keeps entries that other clients added, and removes entries that Postern wrote under an earlier name. Returns
    /// the changes; `None`: the Secret was correct, and nothing was written.
    pub(crate) async fn update_secret(
        &self,
        owner: &ClientSecret,
        found: &Secret,
        value: &IssuedValue,
        content: &Content,
    ) -> Result<Option<Difference>, Error> {
        let wanted = self.wanted(owner, value, content)?;
        let Some(difference) = wanted.differs(found) else {
            self.inspected.note(&ObjectRef::of(found), finding(found, content, true));
            return Ok(None);
        };
        let with = write_params::patch();
        let name = owner.spec.secret_name(&owner.metadata);
        let answer = self.secrets(owner).patch(name, &with, &Patch::Merge(&difference.patch)).await;
        let answer = answer.map_err(|source| redact_error("patch", owner, &wanted, source))?;
        self.is_as_written("patch", owner, content, &wanted, &answer).map(|()| Some(difference))
    }

    fn wanted(&self, owner: &ClientSecret, value: &IssuedValue, content: &Content) -> Result<Wanted, Error> {
        let failed = |source| Error::Hash { object: crate::controller::gather::describe(owner), source };
        Wanted::new(owner, value, content, &self.install_keys()).map_err(failed)
    }

    /// Records the write from the API server's response. A webhook that modifies each write would cause an endless
    /// series of writes, so a modified response is treated as a refusal.
    fn is_as_written(
        &self,
        step: &'static str,
        owner: &ClientSecret,
        content: &Content,
        wanted: &Wanted,
        answer: &Secret,
    ) -> Result<(), Error> {
        self.expectations.record(answer);
        let difference = wanted.differs(answer);
        self.inspected.note(&ObjectRef::of(answer), finding(answer, content, difference.is_none()));
        let Some(difference) = difference else { return Ok(()) };
        let keys = difference.keys.join(", ");
        let message = format!("an admission webhook or policy changes {keys} while it is written");
        let source = kube::Error::Api(Box::new(Status { message, code: 422, ..Status::default() }));
        Err(Error::Delivery { step, object: describe_secret(owner), source: Box::new(source) })
    }

    /// Removes the Secret, on the condition that it is unchanged. A Secret that is already deleted is no error.
    pub(crate) async fn remove(&self, owner: &ClientSecret, found: &Secret) -> Result<(), Error> {
        let preconditions =
            Preconditions { uid: found.metadata.uid.clone(), resource_version: found.resource_version() };
        let with = DeleteParams { preconditions: Some(preconditions), ..DeleteParams::default() };
        let name = owner.spec.secret_name(&owner.metadata);
        match self.secrets(owner).delete(name, &with).await {
            Ok(_) => Ok(()),
            Err(kube::Error::Api(status)) if status.is_not_found() => Ok(()),
            Err(source) => Err(failed("remove", owner, source)),
        }
    }

    /// The delivered Secret with its data; `None`: it was deleted. The caller has checked by its metadata that Postern
    /// owns it or may own it; this function checks the response again.
    pub(crate) async fn read_own(&self, owner: &ClientSecret) -> Result<Option<Box<Secret>>, Error> {
        let name = owner.spec.secret_name(&owner.metadata);
        let found = self.secrets(owner).get_opt(name).await.map_err(|source| failed("read", owner, source))?;
        let Some(found) = found else { return Ok(None) };
        let metadata = DeliveredSecret::new(ObjectRef::of(&found), &found.metadata);
        if self.ownership(owner, &metadata) == Ownership::Foreign {
            return Err(Error::Conflict { object: crate::controller::gather::describe(owner) });
        }
        Ok(Some(Box::new(found)))
    }

    pub(crate) fn secrets(&self, owner: &ClientSecret) -> Api<Secret> {
        Api::namespaced(self.client.clone(), &owner.namespace().unwrap_or_default())
    }
}

/// The record of a Secret that contains the value of the newest version.
pub(crate) fn finding(found: &Secret, content: &Content, right: bool) -> Finding {
    let uid = uid_number(&found.metadata).unwrap_or_default();
    Finding {
        uid: u64::try_from(uid & u128::from(u64::MAX)).unwrap_or_default(),
        revision: revision(found),
        content: fingerprint(&content.digest()),
        right,
        immutable: found.immutable == Some(true),
        holds_value: true,
    }
}

fn failed(step: &'static str, owner: &ClientSecret, source: kube::Error) -> Error {
    Error::Api { step, object: describe_secret(owner), source: Box::new(source) }
}

/// The response becomes part of status, events and the log. A policy may print the object that it refuses, so a
/// response that quotes the value is omitted.
fn redact_error(step: &'static str, owner: &ClientSecret, wanted: &Wanted, source: kube::Error) -> Error {
    let source = match source {
        kube::Error::Api(answer) if wanted.is_quoted_in(&answer.message) => {
            let message = "response omitted because it contains the credential".to_owned();
            kube::Error::Api(Box::new(Status { message, code: answer.code, ..Status::default() }))
        }
        source => source,
    };
    Error::Delivery { step, object: describe_secret(owner), source: Box::new(source) }
}

fn describe_secret(owner: &ClientSecret) -> String {
    let namespace = owner.namespace().unwrap_or_default();
    format!("Secret {namespace}/{}", owner.spec.secret_name(&owner.metadata))
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    use serde_json::{Value, json};

    use super::*;
    use crate::api::application::Token;
    use crate::api::permissions::Authority;
    use crate::crypto::install_key::InstallKeys;
    use crate::crypto::key_pair::{self, KeyAlgorithm, KeyKind, KeyPair, RsaSize};
    use crate::crypto::secret::SecretValue;
    use crate::plan::secret_content::{Client, Endpoints};
    use crate::util::error_chain::display_chain;

    fn wanted(owner: &ClientSecret, value: &IssuedValue) -> Wanted {
        let client = Client { id: "sync", subject: "user", held: &Authority::new(), token: &Token::default() };
        let content = Content::new(&Endpoints::default(), &client, owner.spec.type_.unwrap_or_default(), None);
        Wanted::new(owner, value, &content, &InstallKeys::generate().unwrap()).unwrap()
    }

    fn owner(type_: &str) -> ClientSecret {
        let spec = json!({"applicationRef": {"name": "sync"}, "type": type_});
        ClientSecret::new("blue", serde_json::from_value(spec).unwrap())
    }

    fn value(text: SecretValue, key_pair: Option<KeyPair>) -> IssuedValue {
        IssuedValue { id: "k7Qd0m2x".to_owned(), text, key_pair, at: jiff::Timestamp::UNIX_EPOCH }
    }

    fn said(owner: &ClientSecret, wanted: &Wanted, message: String) -> String {
        let answer = Status { message, code: 403, ..Status::default() };
        let error = redact_error("create", owner, wanted, kube::Error::Api(Box::new(answer)));
        assert!(error.refusal().is_some());
        format!("{} {error:?}", display_chain(&error))
    }

    #[test]
    fn a_response_that_quotes_the_value_is_omitted_and_remains_a_refusal() {
        let (owner, value) = (owner("SharedSecret"), value(SecretValue::generate().1, None));
        let wanted = wanted(&owner, &value);
        let plain = value.text.expose_secret();
        for quoted in [plain.to_owned(), STANDARD.encode(plain)] {
            let said = said(&owner, &wanted, format!("denied: {{client-secret: {quoted}}}"));
            assert!(!said.contains(&quoted) && said.contains("omitted"), "{said}");
        }
        assert!(said(&owner, &wanted, "exceeded quota".to_owned()).contains("exceeded quota"));
    }

    #[test]
    fn a_response_that_quotes_any_form_of_a_private_key_is_omitted() {
        for (kind, algorithm) in
            [(KeyKind::P256, KeyAlgorithm::Es256), (KeyKind::Rsa(RsaSize::Bits2048), KeyAlgorithm::Rs256)]
        {
            let text = key_pair::generate(kind).unwrap();
            let pair = KeyPair::parse(text.expose_secret(), algorithm).unwrap();
            let jwk: Value = serde_json::from_str(pair.private_jwk("k7Qd0m2x").expose_secret()).unwrap();
            let pem = text.expose_secret().to_owned();
            let key_file = pair.key_file_pem().expose_secret().to_owned();
            let (owner, value) = (owner("PrivateKey"), value(text, Some(pair)));
            let wanted = wanted(&owner, &value);
            let line = |pem: &str| pem.lines().nth(1).unwrap().to_owned();
            let escaped = pem.replace('\n', "\\n");
            let private = jwk["d"].as_str().unwrap().to_owned();
            let encoded = wanted.data.values().map(|bytes| STANDARD.encode(&bytes.0)).find(|text| text.len() > 300);
            for quoted in [line(&pem), line(&key_file), pem, escaped, private, encoded.unwrap()] {
                let said = said(&owner, &wanted, format!("denied: {quoted}"));
                assert!(!said.contains(&quoted) && said.contains("omitted"), "{said}");
            }
            assert!(said(&owner, &wanted, "exceeded quota".to_owned()).contains("exceeded quota"));
        }
    }
}
