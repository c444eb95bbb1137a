//! A consistent read of all objects of a kind, page by page.

use kube::Api;
use kube::api::ListParams;
use serde::de::DeserializeOwned;

/// Objects per page.
const PAGE_SIZE: u32 = 500;

/// Lists the objects until `is_enough` accepts a page. Returns whether it accepted one.
///
/// # Errors
/// A page could not be read.
pub(crate) async fn list_until<K>(api: &Api<K>, mut is_enough: impl FnMut(Vec<K>) -> bool) -> kube::Result<bool>
where
    K: Clone + DeserializeOwned + std::fmt::Debug,
{
    let mut params = ListParams::default().limit(PAGE_SIZE);
    loop {
        let page = api.list(&params).await?;
        if is_enough(page.items) {
            return Ok(true);
        }
        match page.metadata.continue_.filter(|token| !token.is_empty()) {
            Some(token) => params = params.continue_token(&token),
            None => return Ok(false),
        }
    }
}
