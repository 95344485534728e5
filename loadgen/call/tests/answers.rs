//! What a server may answer, and what is made of it.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use call::{CallError, Remote, address_of};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use url::Url;

/// A server that answers each request with these bytes, and closes the connection if it `closes`. Counts connections.
async fn server(answer: Vec<u8>, closes: bool) -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let url = format!("http://{}", listener.local_addr().expect("a bound socket"));
    let connections = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&connections);
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            counted.fetch_add(1, Ordering::SeqCst);
            let answer = answer.clone();
            tokio::spawn(async move {
                let mut heard = vec![0; 4096];
                while let Ok(1..) = stream.read(&mut heard).await {
                    stream.write_all(&answer).await?;
                    if closes {
                        break;
                    }
                }
                io::Result::Ok(())
            });
        }
    });
    (url, connections)
}

async fn asked(answer: &[u8], closes: bool) -> Result<(u16, String), CallError> {
    let (url, _) = server(answer.to_vec(), closes).await;
    let mut server = Remote::at(&url)?.taking(64);
    let answer = server.get("/").await?;
    let body = String::from_utf8_lossy(&answer.body).into_owned();
    Ok((answer.status.as_u16(), body))
}

#[tokio::test]
async fn whole_answers_of_every_form_are_read() {
    for (answer, closes, status, body) in [
        (
            &b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"[..],
            false,
            200,
            "{}",
        ),
        (b"HTTP/1.0 200 OK\r\n\r\n{}", true, 200, "{}"),
        (
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n{\r\n1\r\n}\r\n0\r\n\r\n",
            false,
            200,
            "{}",
        ),
        (
            b"HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n",
            false,
            503,
            "",
        ),
        // Nobody is led elsewhere.
        (
            b"HTTP/1.1 307 Elsewhere\r\nLocation: http://127.0.0.1:9/\r\nContent-Length: 0\r\n\r\n",
            false,
            307,
            "",
        ),
    ] {
        let answered = asked(answer, closes).await.expect("a whole answer");
        assert_eq!(answered, (status, body.to_owned()));
    }
}

#[tokio::test]
async fn what_is_no_whole_answer_says_why() {
    let long = b"HTTP/1.1 200 OK\r\nContent-Length: 65\r\n\r\n";
    let long = [&long[..], &[b'a'; 65]].concat();
    let error = asked(&long, false).await.expect_err("it is too long");
    assert!(matches!(error, CallError::Long(64)), "{error:?}");
    // One without an end is not read on.
    let endless = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n41\r\n";
    let endless = [&endless[..], &[b'a'; 65], b"\r\n"].concat();
    let error = asked(&endless, false).await.expect_err("it is too long");
    assert!(matches!(error, CallError::Long(64)), "{error:?}");
    for broken in [
        &b""[..],
        b"+PONG\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{}",
    ] {
        let error = asked(broken, true).await.expect_err("it broke off");
        assert!(matches!(error, CallError::Broken(_)), "{error:?}");
    }

    let (url, _) = server(Vec::new(), false).await;
    let server = Remote::at(&url).expect("an address");
    let silent = server.within(Duration::from_millis(1)).get("/").await;
    let error = silent.expect_err("nothing came");
    assert!(matches!(error, CallError::Silent(_)), "{error:?}");

    let closed = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let url = format!("http://{}", closed.local_addr().expect("a bound socket"));
    drop(closed);
    let mut nobody = Remote::at(&url).expect("an address");
    let error = nobody.get("/").await.expect_err("nobody is there");
    assert_eq!(error.to_string(), format!("nothing answers at {url}"));

    for wrong in [
        "",
        "127.0.0.1:1",
        "https://127.0.0.1",
        "http://127.0.0.1/path",
        "http://127.0.0.1?a",
    ] {
        let error = Remote::at(wrong).expect_err("no address");
        assert!(matches!(error, CallError::Address(_)), "{wrong}: {error:?}");
    }
}

#[tokio::test]
async fn a_connection_is_kept_while_it_lasts() {
    let good = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
    for (answer, connections) in [
        (&good[..], 1),
        (
            b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n",
            3,
        ),
        // After an answer that was given up, what is left of it is not taken for the next.
        (b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n", 3),
    ] {
        let (url, seen) = server(answer.to_vec(), false).await;
        let within = if connections == 3 { 200 } else { 60_000 };
        let mut server = Remote::at(&url)
            .expect("an address")
            .within(Duration::from_millis(within));
        for _ in 0..3 {
            let _ = server.post("/", "{}").await;
        }
        assert_eq!(seen.load(Ordering::SeqCst), connections);
    }
}

#[tokio::test]
async fn an_address_is_found_with_and_without_a_port() {
    for (url, address) in [
        ("http://127.0.0.1", "127.0.0.1:80"),
        ("https://127.0.0.1", "127.0.0.1:443"),
        ("http://127.0.0.1:81/path", "127.0.0.1:81"),
        ("http://[::1]", "[::1]:80"),
        ("http://user:secret@127.0.0.1:82", "127.0.0.1:82"),
    ] {
        let found = address_of(&Url::parse(url).expect("a URL")).await;
        assert_eq!(
            found.map(|found| found.to_string()).as_deref(),
            Some(address),
            "{url}"
        );
    }
}
