//! Values that subscribers follow.

use tokio::sync::watch;

/// Sends the value unless it is the one that was sent last.
pub(crate) fn send_if_new<T: PartialEq>(sender: &watch::Sender<T>, value: T) {
    sender.send_if_modified(|known| {
        let is_new = *known != value;
        *known = value;
        is_new
    });
}
