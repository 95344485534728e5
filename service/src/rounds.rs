//! Asks all partitions at once, again and again. One that does not answer holds up no other, and is asked again only when
//! it has.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::sync::watch;

use crate::queue::{Partition, Queue};
use crate::task;

/// Who asks one partition.
pub(crate) trait Look: Send + 'static {
    /// What is seen.
    type Seen: Clone + Default + Send + Sync + 'static;

    /// Looks for the `round`th time; what was seen before is in `seen`.
    fn look(
        &mut self,
        round: u64,
        partition: &mut Partition,
        seen: &mut Self::Seen,
    ) -> impl Future<Output = ()> + Send;
}

/// One task for each partition, all of which start to look at once: over a connection that they share, their calls go out
/// together.
#[derive(Debug)]
pub(crate) struct Rounds<T> {
    asked: watch::Sender<u64>,
    answers: Vec<watch::Receiver<Answer<T>>>,
}

#[derive(Clone, Debug, Default)]
struct Answer<T> {
    round: u64,
    seen: Arc<T>,
}

impl<T: Clone + Default + Send + Sync + 'static> Rounds<T> {
    /// Starts the tasks; they end when this is dropped.
    pub(crate) fn start<L: Look<Seen = T>>(queue: &Queue, look: impl Fn() -> L) -> Self {
        let asked = watch::Sender::new(0);
        let answers = (0..queue.partitions())
            .map(|number| {
                let (answer, answers) = watch::channel(Answer::default());
                let partition = queue.reader(number);
                task::spawn("look", follow(look(), partition, asked.subscribe(), answer));
                answers
            })
            .collect();
        Self { asked, answers }
    }

    /// Has all partitions looked at that have answered before, and waits for the answers, `patience` at most. Answers what
    /// was last seen of each partition.
    pub(crate) async fn next(&mut self, patience: Duration) -> Vec<Arc<T>> {
        let round = *self.asked.borrow() + 1;
        self.asked.send_replace(round);
        let answers = self.answers.iter_mut().map(async |answer| {
            // The task ends with this; what was seen last stands.
            drop(answer.wait_for(|answer| answer.round >= round).await);
        });
        let _ = tokio::time::timeout(patience, join_all(answers)).await;
        let answers = self.answers.iter();
        answers
            .map(|answer| Arc::clone(&answer.borrow().seen))
            .collect()
    }
}

async fn follow<L: Look>(
    mut look: L,
    mut partition: Partition,
    mut asked: watch::Receiver<u64>,
    answer: watch::Sender<Answer<L::Seen>>,
) {
    let mut seen = L::Seen::default();
    while asked.changed().await.is_ok() {
        let round = *asked.borrow_and_update();
        look.look(round, &mut partition, &mut seen).await;
        answer.send_replace(Answer {
            round,
            seen: Arc::new(seen.clone()),
        });
    }
}
