//! Sizes in bytes, as Kubernetes writes them.

/// The text is not a size.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("it must be a number of bytes, alone or with Ki, Mi or Gi, such as 256Mi")]
pub(super) struct NotASize;

/// Bytes of `268435456`, `262144Ki`, `256Mi` or `1Gi`.
pub(super) fn parse(text: &str) -> Result<u64, NotASize> {
    let digits = text.trim_end_matches(|letter: char| !letter.is_ascii_digit());
    let unit = match text.strip_prefix(digits) {
        Some("") => 1,
        Some("Ki") => 1 << 10,
        Some("Mi") => 1 << 20,
        Some("Gi") => 1 << 30,
        _ => return Err(NotASize),
    };
    let number = digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse::<u64>().ok()).flatten();
    number.and_then(|number| number.checked_mul(unit)).ok_or(NotASize)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_as_kubernetes_writes_them() {
        for (text, bytes) in [("1000", 1000), ("4Ki", 4096), ("256Mi", 268_435_456), ("1Gi", 1 << 30)] {
            assert_eq!(parse(text), Ok(bytes), "{text}");
        }
        for text in ["", "Mi", "256M", "256 Mi", "-1", "+1", "1.5Gi", "99999999999Gi", "0x10"] {
            assert_eq!(parse(text), Err(NotASize), "{text}");
        }
    }
}
