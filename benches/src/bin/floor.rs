//! The floor: a hyper server that only reads each body and answers. What the service does beyond
//! it is what its admission costs.
//!
//!     floor [ADDRESS [FILE]]
//!
//! With a file it is the durable floor: it answers only when the body is on the disk. Bodies that came while the disk was
//! busy are written and flushed together, as `appendfsync always` does it. No server that keeps what it has promised answers
//! sooner.

use std::convert::Infallible;
use std::fs::File;
use std::io::Write as _;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const ANSWER: &[u8] = br#"{"loanId":"GC-000001","status":"queued","replayed":false}"#;
/// The most bodies that are flushed together.
const BATCH_LEN_MAX: usize = 1_000;

/// A body that is to be written, and who waits for that.
type Unwritten = (Bytes, oneshot::Sender<()>);

#[tokio::main]
async fn main() -> std::io::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let address = arguments.next();
    let address = address.as_deref().unwrap_or("127.0.0.1:0");
    let disk = match arguments.next() {
        Some(path) => Some(disk(File::create(path)?)),
        None => None,
    };
    let listener = TcpListener::bind(address).await?;
    writeln!(std::io::stdout(), "http://{}", listener.local_addr()?)?;
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let disk = disk.clone();
        tokio::spawn(http1::Builder::new().pipeline_flush(true).serve_connection(
            TokioIo::new(stream),
            service_fn(move |request| answer(request, disk.clone())),
        ));
    }
}

/// Writes what it is sent to `file`, and flushes what has come together. A disk that fails ends it: then nobody is answered.
fn disk(mut file: File) -> mpsc::UnboundedSender<Unwritten> {
    let (sender, mut waiting) = mpsc::unbounded_channel::<Unwritten>();
    std::thread::spawn(move || -> std::io::Result<()> {
        let (mut text, mut written) = (Vec::new(), Vec::new());
        while let Some(first) = waiting.blocking_recv() {
            let mut next = Some(first);
            while let Some((body, answer)) = next {
                text.extend_from_slice(&body);
                written.push(answer);
                next = (written.len() < BATCH_LEN_MAX)
                    .then(|| waiting.try_recv().ok())
                    .flatten();
            }
            file.write_all(&text)?;
            file.sync_data()?;
            text.clear();
            for answer in written.drain(..) {
                // Its client may have gone.
                let _ = answer.send(());
            }
        }
        Ok(())
    });
    sender
}

async fn answer(
    request: Request<Incoming>,
    disk: Option<mpsc::UnboundedSender<Unwritten>>,
) -> Result<Response<Full<Bytes>>, hyper::Error> {
    let body = request.into_body().collect().await?.to_bytes();
    if let Some(disk) = disk {
        let (answer, answered) = oneshot::channel();
        // Where the disk is gone the answer is never sent, and wrk counts an error.
        if disk.send((body, answer)).is_err() || answered.await.is_err() {
            std::future::pending::<Infallible>().await;
        }
    }
    let mut response = Response::new(Full::new(Bytes::from_static(ANSWER)));
    *response.status_mut() = StatusCode::ACCEPTED;
    response.headers_mut().insert(
        hyper::header::CONTENT_TYPE,
        hyper::header::HeaderValue::from_static("application/json"),
    );
    Ok(response)
}
