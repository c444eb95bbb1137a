//! Small tools without knowledge of the product.

pub mod error_chain;
pub mod fair_share;
pub mod intern;
pub mod token_bucket;
pub mod watch_channel;
