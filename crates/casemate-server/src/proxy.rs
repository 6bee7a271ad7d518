//! The PROXY protocol, version 2, from trusted load balancers.

use std::{io, net::IpAddr};

use ipnet::IpNet;
use ppp::v2::{Addresses, Command, Header};
use tokio::io::{AsyncRead, AsyncReadExt};

/// Length of the fixed part, which contains the length of the rest.
const FIXED_BYTES: usize = 16;
/// Maximum length of the rest: addresses and a few extensions.
const REST_BYTES_MAX: usize = 2048;

/// Returns whether a connection from `address` must begin with a PROXY header.
pub(crate) fn is_trusted(trusted: &[IpNet], address: IpAddr) -> bool {
    let address = address.to_canonical();
    trusted.iter().any(|net| net.contains(&address))
}

/// Reads a header and returns the client's address; `None` for the load balancer's own connections,
/// such as health checks.
///
/// # Errors
///
/// [`io::ErrorKind::InvalidData`] unless there is a header of version 2 with a TCP address.
pub(crate) async fn read_header<S>(stream: &mut S) -> io::Result<Option<IpAddr>>
where
    S: AsyncRead + Unpin,
{
    let mut bytes = vec![0; FIXED_BYTES];
    stream.read_exact(&mut bytes).await?;
    let rest = bytes
        .last_chunk::<2>()
        .map_or(0, |len| u16::from_be_bytes(*len).into());
    if rest > REST_BYTES_MAX || !bytes.starts_with(ppp::v2::PROTOCOL_PREFIX) {
        return Err(io::ErrorKind::InvalidData.into());
    }
    bytes.resize(FIXED_BYTES.saturating_add(rest), 0);
    let rest = bytes.get_mut(FIXED_BYTES..).unwrap_or_default();
    stream.read_exact(rest).await?;
    client_of(&bytes)
}

/// Returns the client in a complete header; `None` for the load balancer's own connections.
fn client_of(bytes: &[u8]) -> io::Result<Option<IpAddr>> {
    let header = Header::try_from(bytes).map_err(|_| io::ErrorKind::InvalidData)?;
    match (header.command, &header.addresses) {
        (Command::Local, _) => Ok(None),
        (Command::Proxy, Addresses::IPv4(pair)) => Ok(Some(pair.source_address.into())),
        (Command::Proxy, Addresses::IPv6(pair)) => Ok(Some(pair.source_address.into())),
        (Command::Proxy, Addresses::Unspecified | Addresses::Unix(_)) => {
            Err(io::ErrorKind::InvalidData.into())
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A header laid out as in the specification of the protocol: 10.1.2.3:80 to 10.0.0.1:443 over
    /// TCP.
    const HEADER: &[u8] =
        b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\x0a\x01\x02\x03\x0a\0\0\x01\0\x50\x01\xbb";

    async fn read(mut bytes: &[u8]) -> Result<(Option<IpAddr>, usize), io::ErrorKind> {
        let found = read_header(&mut bytes).await;
        found
            .map(|found| (found, bytes.len()))
            .map_err(|error| error.kind())
    }

    #[tokio::test]
    async fn only_the_header_is_consumed() {
        let client: IpAddr = "10.1.2.3".parse().unwrap();
        let more = [HEADER, b"more"].concat();
        assert_eq!(read(&more).await, Ok((Some(client), 4)));
        let mut local = HEADER.to_vec();
        local[12] = 0x20;
        assert_eq!(read(&local).await, Ok((None, 0)));
        let mut extended = HEADER.to_vec();
        extended[15] = 0x0f;
        extended.extend([4, 0, 0]);
        assert_eq!(read(&extended).await, Ok((Some(client), 0)));
    }

    #[tokio::test]
    async fn everything_else_is_refused() {
        for at in [0, 5, 12, 13] {
            let mut bent = HEADER.to_vec();
            bent[at] = 0xff;
            assert_eq!(read(&bent).await, Err(io::ErrorKind::InvalidData), "{at}");
        }
        for len in 0..HEADER.len() {
            let cut = read(&HEADER[..len]).await;
            assert_eq!(cut, Err(io::ErrorKind::UnexpectedEof), "{len}");
        }
        let mut long = HEADER.to_vec();
        long[14] = 0xff;
        long.resize(70_000, 0);
        assert_eq!(read(&long).await, Err(io::ErrorKind::InvalidData));
        let tls = [0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3, 0, 0, 0, 0, 0, 0];
        assert_eq!(read(&tls).await, Err(io::ErrorKind::InvalidData));
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_are_parsed_or_refused(
            kind in any::<[u8; 2]>(),
            rest in prop::collection::vec(any::<u8>(), 0..300),
            said in prop::option::of(any::<u16>()),
        ) {
            let said = said.unwrap_or_else(|| u16::try_from(rest.len()).unwrap());
            let header = [&HEADER[..12], &kind, &said.to_be_bytes(), &rest].concat();
            // Must not panic, and must not return an address that is not in the header.
            if let Ok(Some(IpAddr::V4(client))) = client_of(&header) {
                prop_assert_eq!(&rest[..4], &client.octets());
            }
        }
    }

    #[test]
    fn only_listed_networks_are_trusted() {
        let trusted = ["10.0.0.0/8".parse().unwrap(), "fd00::/8".parse().unwrap()];
        for (address, expected) in [
            ("10.9.9.9", true),
            ("::ffff:10.9.9.9", true),
            ("11.0.0.1", false),
            ("fd00::1", true),
            ("::1", false),
        ] {
            let address = address.parse().unwrap();
            assert_eq!(is_trusted(&trusted, address), expected, "{address}");
        }
    }
}
