//! The task that keeps the list of who is where: it says to other servers what changed here, tells the application, and keeps the time.

use super::{Attendance, Hub};
use crate::clock::until;
use crate::presence::{Presence, PresenceEvent};
use sockeye_cluster::Message;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Weak};

/// Who hears of changes.
type Tell = Box<dyn Fn(&PresenceEvent) + Send + Sync>;

impl Hub {
    /// Begins to track who is where, before anybody comes. Must be called within a tokio runtime.
    pub(crate) fn track(self: &Arc<Self>, presence: Presence, tell: Option<Tell>) {
        let attendance = Arc::new(Attendance::new(presence));
        self.attend(Arc::clone(&attendance));
        // Ends when the namespace is gone, within an interval.
        tokio::spawn(run(attendance, Arc::downgrade(self), tell));
    }

    /// Says goodbye to those who know who is here.
    pub(crate) fn end_presence(&self) {
        if let Some(attendance) = self.attendance() {
            attendance.close();
            say(self, attendance);
        }
    }
}

async fn run(attendance: Arc<Attendance>, hub: Weak<Hub>, hook: Option<Tell>) {
    loop {
        let due = {
            let Some(hub) = hub.upgrade() else { return };
            let due = attendance.turn(hub.uid());
            say(&hub, &attendance);
            tell(&attendance, hook.as_ref());
            due
        };
        tokio::select! {
            () = attendance.rung() => {}
            () = until(Some(due)) => {}
        }
    }
}

fn say(hub: &Hub, attendance: &Attendance) {
    while let Some(packet) = attendance.next_say() {
        hub.tell(Message::ServerSideEmit { packet, request_id: None });
    }
}

fn tell(attendance: &Attendance, hook: Option<&Tell>) {
    while let Some(event) = attendance.next_event() {
        if let Some(hook) = hook
            && catch_unwind(AssertUnwindSafe(|| hook(&event))).is_err()
        {
            tracing::error!("a listener of presence panicked");
        }
    }
}
