//! What people order and read, beside the way that mail goes.
//!
//! It promises that an order is durable on return and obeyed only where the mail's state allows it, and
//! that a long list does not stop delivery: it is read over a connection of its own.

use super::entry::Order;
use super::view::Count;
use super::work::{Refusal, Work};
use super::{Entry, Filter, Findings, Page, Queue, Settled, SteerError, StoreError, View, read};
use crate::mail::Id;

impl Queue {
    /// Has a queued mail wait for a person.
    ///
    /// # Errors
    /// [`SteerError`].
    pub async fn hold(&self, id: Id) -> Result<(), SteerError> {
        self.steer(id, Order::Hold).await
    }

    /// Lets a held mail go, now.
    ///
    /// # Errors
    /// [`SteerError`].
    pub async fn release(&self, id: Id) -> Result<(), SteerError> {
        self.steer(id, Order::Release).await
    }

    /// Makes a mail due now, also one that was held, given up or damaged; recipients that failed for
    /// good in a mail that was given up wait again.
    ///
    /// # Errors
    /// [`SteerError`].
    pub async fn retry(&self, id: Id) -> Result<(), SteerError> {
        self.steer(id, Order::Retry).await
    }

    /// Takes a mail out of the queue unsent; it is listed in the history as removed.
    ///
    /// # Errors
    /// [`SteerError`].
    pub async fn remove(&self, id: Id) -> Result<(), SteerError> {
        self.steer(id, Order::Remove).await
    }

    /// Mails in the order of their ids.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn list(&self, filter: Filter) -> Result<Vec<Entry>, StoreError> {
        read(&self.inner.desk, move |view| view.list(&filter)).await
    }

    /// Mails in the order of their ids, page by page.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn page(&self, filter: Filter) -> Result<Page<Entry>, StoreError> {
        read(&self.inner.desk, move |view| view.page(&filter)).await
    }

    /// Mails that left the queue, the latest first, page by page.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn past(&self, filter: Filter) -> Result<Page<Settled>, StoreError> {
        read(&self.inner.desk, move |view| view.past(&filter)).await
    }

    /// One mail that left the queue.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn settled(&self, id: Id) -> Result<Option<Settled>, StoreError> {
        read(&self.inner.desk, move |view| view.settled(id)).await
    }

    /// How many mails had a try that ended without a known fate.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn uncertain(&self) -> Result<u64, StoreError> {
        read(&self.inner.desk, View::uncertain).await
    }

    /// One mail of the queue.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn show(&self, id: Id) -> Result<Option<Entry>, StoreError> {
        read(&self.inner.desk, move |view| view.show(id)).await
    }

    /// Mails that left the queue, the latest first.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn history(
        &self,
        account: Option<&str>,
        most: usize,
    ) -> Result<Vec<Settled>, StoreError> {
        let account = account.map(str::to_owned);
        read(&self.inner.desk, move |view| view.history(account.as_deref(), most)).await
    }

    /// What lies in the queue, by account and state, with the oldest of each.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn counts(&self) -> Result<Vec<Count>, StoreError> {
        read(&self.inner.desk, View::counts).await
    }

    /// Checks pages, rows and bodies in the background, through a connection of its own.
    ///
    /// # Errors
    /// [`StoreError`] where the store cannot be read so far.
    pub async fn check(&self) -> Result<Findings, StoreError> {
        read(&self.inner.desk, |desk| {
            View::open(desk.dir()).map_err(|error| StoreError(error.to_string()))?.check()
        })
        .await
    }

    async fn steer(&self, id: Id, order: Order) -> Result<(), SteerError> {
        match self.inner.store.perform(Work::Steer(id, order)).await {
            Ok(()) => {
                tracing::info!(%id, ?order, "steered by a person");
                Ok(())
            }
            Err(Refusal::Unknown) => Err(SteerError::Unknown(id)),
            Err(Refusal::State(state)) => Err(SteerError::State { id, state }),
            Err(refusal) => Err(refusal.into_error(id).into()),
        }
    }
}
