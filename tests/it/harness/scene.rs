//! The usual scene of a test: an origin with one file, and a gateway in front of it.

use super::{Body, Builder, Gateway, Origin, Reply};

/// Origin, gateway, body and URL of a [`Scene`]. A test names the origin also if it asks it nothing
/// (`_origin`), because the origin ends when it is dropped.
pub type Started = (Origin, Gateway, Body, String);

/// An origin with one file, and a gateway in front of it, before they start.
pub struct Scene {
    origin: Origin,
    setup: Builder,
    path: String,
    body: Body,
    reply: Reply,
}

impl Scene {
    /// Starts an origin that serves `body` at `path` as a static file server does, and
    /// [`Gateway::relaying`] in front of it.
    #[track_caller]
    pub fn relaying(path: &str, body: Body) -> Started {
        Self::of(path, body).start()
    }

    /// Starts an origin with this response at `path`, and [`Gateway::relaying`] in front of it.
    /// Returns the URL too.
    #[track_caller]
    pub fn replying(path: &str, reply: Reply) -> (Origin, Gateway, String) {
        let origin = Origin::start();
        origin.serve(path, reply);
        let (gateway, url) = (Gateway::relaying(&origin), origin.url(path));
        (origin, gateway, url)
    }

    /// Returns the scene of [`Scene::relaying`], for changes before the start.
    pub fn of(path: &str, body: Body) -> Self {
        let origin = Origin::start();
        let setup = Gateway::builder().origin(&origin).relay().one_attempt();
        let reply = Reply::file(&body);
        Self {
            origin,
            setup,
            path: path.to_owned(),
            body,
            reply,
        }
    }

    /// Changes the response of the origin.
    pub fn reply(self, change: impl FnOnce(Reply) -> Reply) -> Self {
        Self {
            reply: change(self.reply),
            ..self
        }
    }

    /// Replaces the configuration of the gateway. The new one only allows fetches from the origin:
    /// it has the usual retries, and relays misses only with [`Builder::relay`].
    pub fn gateway(self, configure: impl FnOnce(Builder) -> Builder) -> Self {
        Self {
            setup: configure(Gateway::builder().origin(&self.origin)),
            ..self
        }
    }

    /// Starts the gateway, and returns all parts.
    #[track_caller]
    pub fn start(self) -> Started {
        self.origin.serve(&self.path, self.reply);
        let url = self.origin.url(&self.path);
        (self.origin, self.setup.start(), self.body, url)
    }
}
