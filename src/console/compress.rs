//! What is sent at once, gzipped for whoever takes it: most of a list is repetition, and phones pay for what comes. A stream
//! passes as it is: it would be held back until it is long enough. A secret beside the words of a request can be guessed from
//! the length of both, by whoever can make a browser ask again and again: our cookie is `SameSite=Strict`, so nobody can.

use std::io::Write;

use actix_web::HttpRequest;
use actix_web::body::{BoxBody, MessageBody};
use actix_web::dev::ServiceResponse;
use actix_web::http::header::{
    ACCEPT_ENCODING, AcceptEncoding, CONTENT_ENCODING, Encoding, Header, HeaderValue, VARY,
};
use actix_web::web::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;

/// Less than this fits a packet as it is, bytes.
const SMALLEST: usize = 1_024;

/// The same answer, compressed if that is asked for and worth it.
pub fn compress(response: ServiceResponse<BoxBody>) -> ServiceResponse<BoxBody> {
    let (request, response) = response.into_parts();
    let (mut head, body) = response.into_parts();
    let bytes = match body.try_into_bytes() {
        Ok(bytes) => bytes,
        Err(stream) => return ServiceResponse::new(request, head.set_body(stream)),
    };
    let mut body = bytes;
    if body.len() >= SMALLEST {
        let headers = head.headers_mut();
        headers.append(VARY, HeaderValue::from_name(ACCEPT_ENCODING));
        if takes_gzip(&request)
            && let Some(smaller) = gzip(&body)
        {
            headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
            body = smaller;
        }
    }
    ServiceResponse::new(request, head.set_body(BoxBody::new(body)))
}

fn takes_gzip(request: &HttpRequest) -> bool {
    let offered = [Encoding::gzip(), Encoding::identity()];
    AcceptEncoding::parse(request)
        .ok()
        .and_then(|wanted| wanted.negotiate(offered.iter()))
        .is_some_and(|chosen| chosen == Encoding::gzip())
}

fn gzip(plain: &[u8]) -> Option<Bytes> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(plain).ok()?;
    encoder.finish().ok().map(Bytes::from)
}
