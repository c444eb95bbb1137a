//! The only source of randomness.

use std::convert::Infallible;

use rand::distr::{Alphanumeric, SampleString};
use rand::{TryCryptoRng, TryRng};

/// `N` random bytes from the process's cryptographic generator.
///
/// A process without randomness must not issue anything. So a failure ends the process. AWS-LC fails only if the
/// operating system has no entropy source.
#[must_use]
pub fn bytes<const N: usize>() -> [u8; N] {
    let mut out = [0_u8; N];
    fill(&mut out);
    out
}

fn fill(out: &mut [u8]) {
    #[expect(clippy::disallowed_methods, reason = "this is the place meant for it")]
    if aws_lc_rs::rand::fill(out).is_err() {
        std::process::abort();
    }
}

/// The same generator, for interfaces of aws-lc-rs that require one as an argument.
pub(crate) fn system() -> aws_lc_rs::rand::SystemRandom {
    #[expect(clippy::disallowed_methods, reason = "this is the place meant for it")]
    aws_lc_rs::rand::SystemRandom::new()
}

/// Draws the first random bytes of the process, which take some 30 ms, before a request needs random bytes.
pub fn warm_up() {
    let _ = bytes::<1>();
}

/// `N` random characters of `A-Z a-z 0-9`, each equally likely.
pub(crate) fn alphanumeric<const N: usize>() -> String {
    Alphanumeric.sample_string(&mut Generator, N)
}

/// The generator of the process for the distributions of `rand`, so that there is no second generator.
struct Generator;

impl TryRng for Generator {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        Ok(u32::from_ne_bytes(bytes()))
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        Ok(u64::from_ne_bytes(bytes()))
    }

    fn try_fill_bytes(&mut self, out: &mut [u8]) -> Result<(), Infallible> {
        fill(out);
        Ok(())
    }
}

impl TryCryptoRng for Generator {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_draws_differ() {
        warm_up();
        assert_ne!(bytes::<32>(), bytes::<32>());
    }

    #[test]
    fn alphanumeric_text_has_the_length_and_alphabet_asked_for() {
        let text = alphanumeric::<1000>();
        assert_eq!(text.len(), 1000);
        assert!(text.bytes().all(|byte| byte.is_ascii_alphanumeric()));
        let seen: std::collections::BTreeSet<u8> = text.bytes().collect();
        assert!(seen.len() > 50, "1000 draws of 62 characters show nearly all of them, not {}", seen.len());
    }
}
