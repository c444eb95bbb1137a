//! Small tools without knowledge of the product.

pub mod error_chain;
pub mod fair_share;
pub mod intern;
pub mod lenient_json;
pub mod source_network;
pub mod timing;
pub mod watch_channel;
