//! Reads the few fields of DER structures (X.690) that we need from our own keys.

/// Tag of INTEGER.
pub(crate) const INTEGER: u8 = 0x02;
/// Tag of SEQUENCE.
pub(crate) const SEQUENCE: u8 = 0x30;

/// The unread bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reader<'a>(pub(crate) &'a [u8]);

impl<'a> Reader<'a> {
    /// The next element: its tag and contents. `None` at the end or when the bytes are not DER.
    pub(crate) fn any(&mut self) -> Option<(u8, &'a [u8])> {
        let (&[tag, first], rest) = self.0.split_first_chunk::<2>()?;
        let (length, rest) = if first < 0x80 {
            (usize::from(first), rest)
        } else {
            // Long form: the low bits contain the number of length bytes.
            let (bytes, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
            let length =
                bytes.iter().try_fold(0_usize, |sum, byte| sum.checked_mul(256)?.checked_add((*byte).into()))?;
            (length, rest)
        };
        let (contents, rest) = rest.split_at_checked(length)?;
        self.0 = rest;
        Some((tag, contents))
    }

    /// The contents of the next element, which must have this tag.
    pub(crate) fn expect(&mut self, tag: u8) -> Option<&'a [u8]> {
        self.any().filter(|(found, _)| *found == tag).map(|(_, contents)| contents)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_and_long_lengths_are_read() {
        let long = [&[SEQUENCE, 0x81, 200][..], &[1; 200], &[INTEGER, 1, 5]].concat();
        let mut reader = Reader(&long);
        assert_eq!(reader.expect(SEQUENCE).unwrap().len(), 200);
        assert_eq!(reader.expect(INTEGER), Some(&[5][..]));
        assert_eq!(reader.any(), None);
    }

    #[test]
    fn truncated_and_absurd_lengths_are_refused() {
        for bytes in [&[][..], &[2], &[2, 5, 1], &[2, 0x82, 1], &[2, 0x89, 255, 255, 255, 255, 255, 255, 255, 255, 255]]
        {
            assert_eq!(Reader(bytes).any(), None, "{bytes:?}");
        }
    }
}
