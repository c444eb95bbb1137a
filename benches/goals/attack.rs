//! What strangers send to an endpoint that they would like to see fail: each shape of a flood, bounded in number and time.
//!
//! Used by the benchmark, which prints what others notice of it, and by the tests, which assert that they are served.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until, timeout_at};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// How long a connection that was ended stays away.
const PAUSE: Duration = Duration::from_millis(500);
/// A connection of this process and one of the server are two files; some are left for everything else.
const FILES_LEFT: usize = 256;

/// Guesses before a connection from the next network: a client is locked for a network after five.
const GUESSES_OF_A_NETWORK: usize = 20;
/// Each guess is another value.
static GUESSED: AtomicUsize = AtomicUsize::new(0);

/// A shape of a flood.
#[derive(Clone, Copy, Debug)]
pub enum Shape {
    /// HTTP/2 with a window of 0, and 100 requests for the keys.
    ClosedWindow,
    /// 65 KB of a ClientHello that does not end.
    UnfinishedHello,
    /// 31 KB of a head that does not end.
    UnfinishedHead,
    /// 100 HTTP/2 streams whose bodies do not arrive.
    SlowStreams,
    /// Nothing after the handshake.
    Idle,
    /// A long body, a byte now and then.
    SlowBody,
    /// Many answers, of which a few bytes are read now and then.
    SlowRead,
    /// Requests that are reset at once.
    RapidReset,
    /// A header block that does not end.
    Continuation,
    /// Wrong values of every form for a client that exists.
    WrongSecrets,
    /// The same, with each connection from the next of a thousand networks.
    ManyNetworks,
    /// Client ids that do not exist.
    RandomClients,
}

impl Shape {
    /// All of them.
    pub const ALL: [Self; 12] = [
        Self::ClosedWindow,
        Self::UnfinishedHello,
        Self::UnfinishedHead,
        Self::SlowStreams,
        Self::Idle,
        Self::SlowBody,
        Self::SlowRead,
        Self::RapidReset,
        Self::Continuation,
        Self::WrongSecrets,
        Self::ManyNetworks,
        Self::RandomClients,
    ];

    /// Connections at the same time.
    fn connections(self) -> usize {
        match self {
            Self::ClosedWindow => 800,
            Self::UnfinishedHello | Self::Idle => 4_096,
            Self::UnfinishedHead => 4_000,
            Self::SlowStreams => 60,
            Self::SlowBody => 1_000,
            Self::SlowRead => 500,
            Self::RapidReset | Self::Continuation | Self::WrongSecrets | Self::ManyNetworks | Self::RandomClients => 50,
        }
    }

    fn is_http2(self) -> bool {
        matches!(self, Self::ClosedWindow | Self::SlowStreams | Self::RapidReset | Self::Continuation)
    }
}

/// Whom to flood, and from where.
#[derive(Clone)]
pub struct Target {
    /// The endpoint.
    pub address: SocketAddr,
    /// The address that connections come from.
    pub source: Ipv4Addr,
    /// A client that exists.
    pub client_id: Arc<str>,
    /// How its certificate is checked: for HTTP/1.1 and for HTTP/2.
    pub tls: [TlsConnector; 2],
}

impl Target {
    /// Floods it until then.
    pub async fn flood(&self, shape: Shape, until: Instant) {
        let number = shape.connections().min(files().saturating_sub(FILES_LEFT));
        let mut connections = JoinSet::new();
        for number in 0..number {
            let target = self.clone();
            connections.spawn(async move {
                while Instant::now() < until {
                    let _ = timeout_at(until, target.attack(shape, number, until)).await;
                    sleep_until(until.min(Instant::now() + PAUSE)).await;
                }
            });
        }
        while connections.join_next().await.is_some() {}
    }

    /// One connection, until the server ends it.
    async fn attack(&self, shape: Shape, number: usize, until: Instant) -> std::io::Result<()> {
        let mut stream = self.connect(shape).await?;
        if let Shape::UnfinishedHello = shape {
            stream.write_all(&unfinished_hello()).await?;
            return hold(stream).await;
        }
        let [http1, http2] = &self.tls;
        let tls = if shape.is_http2() { http2 } else { http1 };
        let mut stream = tls.connect(ServerName::from(self.address.ip()), stream).await?;
        match shape {
            Shape::ClosedWindow => {
                let asks = (0..100).flat_map(|number| http2::get(2 * number + 1, "/oauth2/jwks"));
                stream.write_all(&[http2::preface(0), asks.collect()].concat()).await?;
                // Not even the head of an answer is read.
                sleep_until(until).await;
                Ok(())
            }
            Shape::UnfinishedHead => {
                let head = format!("GET / HTTP/1.1\r\nhost: p\r\nx: {}", "a".repeat(31_000));
                stream.write_all(head.as_bytes()).await?;
                hold(stream).await
            }
            Shape::SlowStreams => {
                let asks = (0..100).flat_map(|number| http2::post(2 * number + 1, "/oauth2/token"));
                stream.write_all(&[http2::preface(65_535), asks.collect()].concat()).await?;
                hold(stream).await
            }
            Shape::SlowBody => slow_body(stream).await,
            Shape::SlowRead => slow_read(stream).await,
            Shape::RapidReset => rapid_reset(stream).await,
            Shape::Continuation => {
                stream.write_all(&[http2::preface(65_535), http2::endless_headers(100_000)].concat()).await?;
                hold(stream).await
            }
            Shape::WrongSecrets | Shape::ManyNetworks | Shape::RandomClients => self.guess(stream, shape, number).await,
            Shape::Idle | Shape::UnfinishedHello => hold(stream).await,
        }
    }

    async fn connect(&self, shape: Shape) -> std::io::Result<TcpStream> {
        let socket = TcpSocket::new_v4()?;
        if matches!(shape, Shape::SlowRead | Shape::ClosedWindow) {
            // So that the kernel takes nothing for us either.
            socket.set_recv_buffer_size(4096)?;
        }
        let source = if matches!(shape, Shape::ManyNetworks) { next_network() } else { self.source };
        socket.bind((source, 0).into())?;
        let stream = socket.connect(self.address).await?;
        stream.set_nodelay(true)?;
        // Ports are not kept waiting after the end: there are some ten thousand of them.
        stream.set_zero_linger()?;
        Ok(stream)
    }

    /// One guess after another.
    async fn guess(&self, mut stream: TlsStream<TcpStream>, shape: Shape, number: usize) -> std::io::Result<()> {
        let most = if matches!(shape, Shape::ManyNetworks) { GUESSES_OF_A_NETWORK } else { usize::MAX };
        for count in 0..most {
            let unique = format!("{number:08x}{:08x}", GUESSED.fetch_add(1, Ordering::Relaxed));
            let client_id = match shape {
                Shape::RandomClients => format!("{unique}-0000-4000-8000-000000000000"),
                _ => self.client_id.to_string(),
            };
            let secret = match count % 3 {
                // The form of one that is generated, with a checksum that is wrong; that of an imported one; a short word.
                0 => format!("pst_{unique}_{}", "a".repeat(48)),
                1 => format!("imported-value-{unique}"),
                _ => "secret".to_owned(),
            };
            let body = format!("grant_type=client_credentials&client_id={client_id}&client_secret={secret}");
            let request = format!(
                "POST /oauth2/token HTTP/1.1\r\nhost: p\r\ncontent-type: application/x-www-form-urlencoded\r\n\
                 content-length: {}\r\n\r\n{body}",
                body.len()
            );
            stream.write_all(request.as_bytes()).await?;
            if stream.read(&mut [0; 4096]).await? == 0 {
                return Ok(());
            }
        }
        Ok(())
    }
}

/// An address in the next of a thousand networks (/24).
fn next_network() -> Ipv4Addr {
    static USED: AtomicUsize = AtomicUsize::new(0);
    let number = USED.fetch_add(1, Ordering::Relaxed) % 1_000;
    let octet = |value: usize| u8::try_from(value % 250).unwrap_or_default();
    Ipv4Addr::new(127, 3 + octet(number / 250), octet(number), 9)
}

/// Reads until the server ends it.
async fn hold(mut stream: impl AsyncRead + Unpin) -> std::io::Result<()> {
    while stream.read(&mut [0; 1024]).await? > 0 {}
    Ok(())
}

async fn slow_body(mut stream: impl AsyncWrite + Unpin) -> std::io::Result<()> {
    let head = "POST /oauth2/token HTTP/1.1\r\nhost: p\r\ncontent-type: application/x-www-form-urlencoded\r\n\
                content-length: 60000\r\n\r\n";
    stream.write_all(format!("{head}{}", "a".repeat(30_000)).as_bytes()).await?;
    loop {
        stream.write_all(b"a").await?;
        stream.flush().await?;
        sleep(Duration::from_secs(1)).await;
    }
}

async fn slow_read(stream: TlsStream<TcpStream>) -> std::io::Result<()> {
    let (mut reads, mut writes) = tokio::io::split(stream);
    let asks = async {
        loop {
            writes.write_all(&b"GET /oauth2/jwks HTTP/1.1\r\nhost: p\r\n\r\n".repeat(50)).await?;
        }
    };
    let trickle = async {
        while reads.read(&mut [0; 16]).await? > 0 {
            sleep(Duration::from_millis(500)).await;
        }
        Ok(())
    };
    tokio::select! {
        ended = asks => ended,
        ended = trickle => ended,
    }
}

async fn rapid_reset(stream: TlsStream<TcpStream>) -> std::io::Result<()> {
    let (reads, mut writes) = tokio::io::split(stream);
    let resets = async {
        writes.write_all(&http2::preface(65_535)).await?;
        for number in 0..1_000_000 {
            let stream = 2 * number + 1;
            writes.write_all(&[http2::post(stream, "/oauth2/token"), http2::reset(stream)].concat()).await?;
        }
        Ok(())
    };
    tokio::select! {
        ended = resets => ended,
        ended = hold(reads) => ended,
    }
}

/// 65 KB of a ClientHello that says it is longer, in records of 4,000 bytes.
fn unfinished_hello() -> Vec<u8> {
    let record = |payload: &[u8]| [&[22, 3, 1, 0x0f, 0xa0][..], payload].concat();
    let mut first = vec![1, 0, 0xff, 0xff];
    first.resize(4_000, 7);
    [record(&first), record(&[7; 4_000]).repeat(15)].concat()
}

/// Files that this process may open: the soft limit.
fn files() -> usize {
    let limits = std::fs::read_to_string("/proc/self/limits").unwrap_or_default();
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or(1024)
}

/// HTTP/2 by hand: clients of libraries do not misbehave.
mod http2 {
    fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
        let length = u32::try_from(payload.len()).unwrap_or_default().to_be_bytes();
        [length.get(1..).unwrap_or_default(), &[kind, flags], &stream.to_be_bytes(), payload].concat()
    }

    /// The beginning of a connection, with this window for each stream (RFC 9113 §3.4, §6.5.2).
    pub(super) fn preface(window: u32) -> Vec<u8> {
        let setting = [&[0, 4][..], &window.to_be_bytes()].concat();
        [&b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"[..], &frame(4, 0, 0, &setting)].concat()
    }

    /// The header block of a request, literally and without Huffman (RFC 7541 §6.2.2).
    fn head(method: u8, path: &str) -> Vec<u8> {
        let length = u8::try_from(path.len()).unwrap_or_default();
        [&[method, 0x87, 0x04, length], path.as_bytes(), &[0x01, 1, b'p']].concat()
    }

    /// A whole request.
    pub(super) fn get(stream: u32, path: &str) -> Vec<u8> {
        frame(1, 0x05, stream, &head(0x82, path))
    }

    /// A form whose body does not arrive.
    pub(super) fn post(stream: u32, path: &str) -> Vec<u8> {
        let form = b"application/x-www-form-urlencoded";
        let content_type = [&[0x0f, 0x10, u8::try_from(form.len()).unwrap_or_default()], &form[..]].concat();
        frame(1, 0x04, stream, &[head(0x83, path), content_type].concat())
    }

    /// RST_STREAM with CANCEL.
    pub(super) fn reset(stream: u32) -> Vec<u8> {
        frame(3, 0, stream, &[0, 0, 0, 8])
    }

    /// HEADERS without an end, and this many CONTINUATIONs.
    pub(super) fn endless_headers(number: usize) -> Vec<u8> {
        [frame(1, 0, 1, &[0x82]), frame(9, 0, 1, &[0x82; 10]).repeat(number)].concat()
    }
}
