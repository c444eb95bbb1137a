//! Lists with the permissions of the caller: a forbidden list is distinguished from a failed one.

use std::fmt::Debug;

use k8s_openapi::NamespaceResourceScope;
use kube::api::ListParams;
use kube::core::DeserializeGuard;
use kube::{Api, Resource};
use serde::de::DeserializeOwned;

use super::Reader;
use crate::explain::error::ExplainError;

/// Objects in one page of a list.
const PAGE_SIZE: u32 = 500;

/// A list, unless it is forbidden for the caller.
pub(super) enum ListResult<K> {
    Objects(Vec<K>),
    Forbidden,
}

impl Reader {
    /// Objects of a namespace that the explanation requires.
    pub(super) async fn namespaced<K>(
        &mut self,
        namespace: &str,
        fields: &str,
        remedy: &'static str,
    ) -> Result<Vec<K>, ExplainError>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + DeserializeOwned + Debug,
    {
        match self.list(Api::namespaced(self.client.clone(), namespace), fields).await? {
            ListResult::Objects(objects) => Ok(objects),
            ListResult::Forbidden => Err(ExplainError::Forbidden {
                resource: K::plural(&()).into_owned(),
                place: format!("namespace {namespace}"),
                remedy,
            }),
        }
    }

    /// All pages of a list. Objects that cannot be decoded are treated as absent, as in the operator.
    pub(super) async fn list<K>(
        &mut self,
        api: Api<DeserializeGuard<K>>,
        fields: &str,
    ) -> Result<ListResult<K>, ExplainError>
    where
        K: Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug,
    {
        let mut objects = Vec::new();
        let mut params = ListParams::default().fields(fields).limit(PAGE_SIZE);
        loop {
            let page = match api.list(&params).await {
                Ok(page) => page,
                Err(error) if is_impersonation(&error) => return Err(ExplainError::Impersonation(Box::new(error))),
                Err(error) if is_forbidden(&error) => return Ok(ListResult::Forbidden),
                Err(source) => {
                    let resource = format!("{}.{}", K::plural(&()), K::group(&()));
                    return Err(ExplainError::Api { resource, source: Box::new(source) });
                }
            };
            for DeserializeGuard(object) in page.items {
                match object {
                    Ok(object) => objects.push(object),
                    Err(invalid) => self.notes.push(format!(
                        "{} {}/{} cannot be decoded and counts as absent: {}",
                        K::kind(&()),
                        invalid.metadata.namespace.unwrap_or_default(),
                        invalid.metadata.name.unwrap_or_default(),
                        invalid.error
                    )),
                }
            }
            match page.metadata.continue_.filter(|token| !token.is_empty()) {
                Some(token) => params = params.continue_token(&token),
                None => return Ok(ListResult::Objects(objects)),
            }
        }
    }
}

pub(super) fn is_forbidden(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if status.code == 403)
}

/// The API server reports a missing permission to impersonate only in the text of its message.
fn is_impersonation(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if status.code == 403 && status.message.contains(" cannot impersonate"))
}
