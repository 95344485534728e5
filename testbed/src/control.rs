//! `testbed run --control`: for a program that drives the stack. It reads the stack's addresses as one line of JSON,
//! then sends orders, a line each, and gets a line back for each.

use serde_json::{Value, json};
use testbed::{Signal, Stack, TestbedError};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

/// Orders from standard input.
pub(crate) struct Orders(UnboundedReceiver<String>);

impl Orders {
    /// Reads on a thread of its own, which ends with the process: a read of standard input cannot be called off.
    pub(crate) fn listen() -> Self {
        let (sender, orders) = unbounded_channel();
        std::thread::spawn(move || {
            for line in std::io::stdin().lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    break;
                }
            }
        });
        Self(orders)
    }

    /// The next order; `None` at the end of the input: whoever drove the stack is gone.
    pub(crate) async fn next(&mut self) -> Option<String> {
        self.0.recv().await
    }
}

/// Where everything is.
pub(crate) fn addresses(stack: &Stack) -> Value {
    json!({
        "service": stack.service.url(),
        "redis": stack.redis.url(),
        "mongodb": stack.mongodb.uri(),
    })
}

/// Obeys one order: `kill`, `start`, `freeze` or `thaw`, and `service`, `redis` or `mongodb`.
pub(crate) async fn obey(stack: &mut Stack, order: &str) -> Value {
    match act(stack, order).await {
        Ok(true) => json!({ "done": order }),
        Ok(false) => json!({ "unknown": order }),
        Err(error) => json!({ "failed": order, "why": error.to_string() }),
    }
}

async fn act(stack: &mut Stack, order: &str) -> Result<bool, TestbedError> {
    match order {
        "kill service" => stack.service.kill(),
        "kill redis" => stack.redis.kill(),
        "kill mongodb" => stack.mongodb.kill(),
        "start service" => stack.service.restart().await?,
        "start redis" => stack.redis.restart().await?,
        "start mongodb" => stack.mongodb.restart().await?,
        "freeze service" => stack.service.signal(Signal::SIGSTOP)?,
        "thaw service" => stack.service.signal(Signal::SIGCONT)?,
        _ => return Ok(false),
    }
    Ok(true)
}
