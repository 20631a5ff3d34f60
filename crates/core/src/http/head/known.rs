//! The fields that a server has to know about, recorded while the head is parsed.

/// A field, or a kind of field, that a server has to know about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Known {
    Host,
    ContentLength,
    TransferEncoding,
    Connection,
    Expect,
    Upgrade,
    ContentType,
    /// Any field in which proxies describe the request: `Forwarded`, or one that begins with `X-Forwarded-`.
    Forwarding,
}

const COUNT: usize = 8;

impl Known {
    /// The fields on which the framing of a request depends.
    pub(crate) const FRAMING: u8 =
        Known::ContentLength.bit() | Known::TransferEncoding.bit() | Known::Connection.bit() | Known::Expect.bit();

    const fn bit(self) -> u8 {
        1 << self as u8
    }
}

/// Which known fields a head has, and where.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct KnownFields {
    /// The index of the first field of each kind, if it is present.
    first: [u16; COUNT],
    /// A bit for each kind.
    present: u8,
    repeated: u8,
}

impl KnownFields {
    /// Forgets all fields.
    #[inline]
    pub(super) fn clear(&mut self) {
        (self.present, self.repeated) = (0, 0);
    }

    /// The index of the first field of a kind.
    #[inline]
    pub(super) fn first(&self, known: Known) -> Option<usize> {
        self.has_any(known.bit()).then(|| usize::from(self.first[known as usize]))
    }

    /// Whether there is a field of one of these kinds.
    #[inline]
    pub(super) fn has_any(&self, bits: u8) -> bool {
        self.present & bits != 0
    }

    /// Whether there is a field of this kind.
    #[inline]
    pub(super) fn has(&self, known: Known) -> bool {
        self.has_any(known.bit())
    }

    /// Whether there is more than one field of this kind.
    #[inline]
    pub(super) fn is_repeated(&self, known: Known) -> bool {
        self.repeated & known.bit() != 0
    }

    /// Records the index of a field, if its name is known.
    #[inline(always)]
    pub(super) fn record(&mut self, name: &[u8], index: usize) {
        /// Compares a token with a name in lower case, all bytes at once. Setting the bit of lower case changes only
        /// letters here: no other byte of a token would become a byte of one of these names.
        #[inline(always)]
        fn is<const N: usize>(name: &[u8], full: &[u8; N]) -> bool {
            name.first_chunk::<N>().is_some_and(|name| {
                let mut difference = 0;
                for i in 0..N {
                    difference |= (name[i] | 0x20) ^ full[i];
                }
                difference == 0
            })
        }
        let known = match name.len() {
            4 if is(name, b"host") => Known::Host,
            10 if is(name, b"connection") => Known::Connection,
            14 if is(name, b"content-length") => Known::ContentLength,
            12 if is(name, b"content-type") => Known::ContentType,
            17 if is(name, b"transfer-encoding") => Known::TransferEncoding,
            6 if is(name, b"expect") => Known::Expect,
            7 if is(name, b"upgrade") => Known::Upgrade,
            9 if is(name, b"forwarded") => Known::Forwarding,
            // -For; -Host and -Port; -Proto; -Prefix.
            15..=18 if name[0] | 0x20 == b'x' && is(name, b"x-forwarded-") => Known::Forwarding,
            _ => return,
        };
        let bit = known.bit();
        if self.present & bit == 0 {
            self.first[known as usize] = index as u16;
            self.present |= bit;
        } else {
            self.repeated |= bit;
        }
    }
}
