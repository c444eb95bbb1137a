//! The endpoint from outside: a real server on a loopback socket, raw requests, hand-made records. One test per item
//! of the acceptance list, with its id in the name.

mod authentication;
mod discovery;
mod grants;
mod log;
mod operations;
mod raw;
mod responses;
mod tls;
mod tokens;
mod transport;
mod world;
