//! A server whose certificate an authority of the operator's own has signed. The room of webhooks tries its client out on
//! it too.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

/// `authority.pem`, `localhost.pem` or `localhost-key.pem`.
pub fn fixture(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/tls");
    folder.join(name)
}

/// A port where `localhost` answers 204 over TLS, to any number of connections.
pub fn server() -> u16 {
    let certificates = vec![CertificateDer::from_pem_file(fixture("localhost.pem")).unwrap()];
    let key = PrivateKeyDer::from_pem_file(fixture("localhost-key.pem")).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(certificates, key)
        .unwrap();
    let config = Arc::new(config);
    let listener = TcpListener::bind("localhost:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let _ = answer(stream.unwrap(), Arc::clone(&config));
        }
    });
    port
}

/// Reads one request to its end: a client that was answered early would be told of a broken connection.
fn answer(stream: TcpStream, config: Arc<ServerConfig>) -> std::io::Result<()> {
    let connection = ServerConnection::new(config).unwrap();
    let mut stream = BufReader::new(StreamOwned::new(connection, stream));
    let mut length = 0;
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line)? == 0 {
            return Ok(());
        }
        let line = line.trim_end().to_ascii_lowercase();
        if line.is_empty() {
            break;
        }
        if let Some(value) = line.strip_prefix("content-length: ") {
            length = value.parse().unwrap();
        }
    }
    stream.read_exact(&mut vec![0; length])?;
    let answer = b"HTTP/1.1 204 Fine\r\nconnection: close\r\n\r\n";
    stream.get_mut().write_all(answer)
}
