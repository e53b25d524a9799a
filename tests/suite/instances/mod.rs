//! Several instances on one PostgreSQL: who they are to each other, and what they share.

mod changes;
mod failover;
mod limits;
mod members;
mod work;
mod wrong_keys;

use crate::support::TestStore;
use crate::support::app::TestApp;

/// So many services on one database, each knowing of the others.
async fn several(count: usize, settings: &[(&str, &str)]) -> Vec<TestApp> {
    let first = TestApp::start_with(TestStore::postgres().await, settings).await;
    let mut all = vec![first];
    while all.len() < count {
        all.push(all[0].beside(settings).await);
    }
    acquaint(&all).await;
    all
}

/// Each has said that it lives and has seen all that live.
async fn acquaint(all: &[TestApp]) {
    for _ in 0..2 {
        for app in all {
            app.instances.beat().await.unwrap();
        }
    }
}
