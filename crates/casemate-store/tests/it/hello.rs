//! Reads a TLS `ClientHello` (RFC 8446, section 4.1.2), as far as the tests ask.

/// What a client offers.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Hello {
    pub(crate) versions: Vec<u16>,
    pub(crate) groups: Vec<u16>,
    pub(crate) shares: Vec<u16>,
}

struct Cursor<'a>(&'a [u8]);

impl<'a> Cursor<'a> {
    fn take(&mut self, len: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(len);
        self.0 = rest;
        taken
    }

    fn number(&mut self, bytes: usize) -> usize {
        let bytes = self.take(bytes).iter();
        bytes.fold(0, |number, byte| number << 8 | usize::from(*byte))
    }

    fn vector(&mut self, length_bytes: usize) -> Self {
        let len = self.number(length_bytes);
        Cursor(self.take(len))
    }

    fn numbers(mut self) -> Vec<u16> {
        let mut numbers = Vec::new();
        while !self.0.is_empty() {
            numbers.push(self.number(2) as u16);
        }
        numbers
    }
}

/// Reads the first handshake message, from records that may have cut it.
pub(crate) fn read(mut records: impl std::io::Read) -> Hello {
    let mut message = Vec::new();
    loop {
        let mut header = [0; 5];
        records.read_exact(&mut header).unwrap();
        assert_eq!(header[0], 22, "a handshake record");
        let mut body = vec![0; usize::from(u16::from_be_bytes([header[3], header[4]]))];
        records.read_exact(&mut body).unwrap();
        message.extend(body);
        let len =
            usize::from(message[1]) << 16 | usize::from(message[2]) << 8 | usize::from(message[3]);
        if message.len() >= 4 + len {
            break;
        }
    }
    let mut cursor = Cursor(&message);
    assert_eq!(cursor.number(1), 1, "a ClientHello");
    let mut hello = cursor.vector(3);
    hello.take(2 + 32);
    hello.vector(1);
    hello.vector(2);
    hello.vector(1);
    let mut extensions = hello.vector(2);
    let mut found = Hello {
        versions: Vec::new(),
        groups: Vec::new(),
        shares: Vec::new(),
    };
    while !extensions.0.is_empty() {
        let kind = extensions.number(2);
        let mut body = extensions.vector(2);
        match kind {
            10 => found.groups = body.vector(2).numbers(),
            43 => found.versions = body.vector(1).numbers(),
            51 => {
                let mut shares = body.vector(2);
                while !shares.0.is_empty() {
                    found.shares.push(shares.number(2) as u16);
                    shares.vector(2);
                }
            }
            _ => (),
        }
    }
    found
}
