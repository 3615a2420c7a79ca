//! Where Redis is, and how it is reached: one address, or what sentinels name as the master.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{
    AsyncConnectionConfig, Client, ConnectionAddr, ConnectionInfo, IntoConnectionInfo, Pipeline,
    RedisConnectionInfo, TlsCertificates, Value,
};
use thiserror::Error;

use super::super::finding::Finding;
use super::command::{self, Keys, Trouble, text};
use super::identity;
use crate::config::{RedisJournal, Secret};

/// How long it may take to connect and to greet.
const CONNECT: Duration = Duration::from_millis(900);

/// How long one sentinel may take.
const SENTINEL: Duration = Duration::from_millis(300);

/// What makes most URLs unreadable.
const ESCAPES: &str = "Special characters of a user or password have to be percent-encoded: @ as %40, : as %3A, \
     / as %2F, ? as %3F, # as %23, % as %25";

/// How many nodes of a cluster may send on to the next.
const REDIRECTS: usize = 3;

/// Why the settings do not lead to Redis. It does not tell the URL, which may hold a password.
#[derive(Debug, Error, PartialEq, Eq)]
pub(crate) enum UrlError {
    #[error(
        "redis_url has to be redis://, rediss://, unix:// or redis+sentinel://HOST:PORT,HOST:PORT/MASTER"
    )]
    Scheme,
    #[error("redis_url: {0}")]
    Wrong(String),
    #[error("{0}")]
    Identity(String),
    #[error("redis_tls_cert needs TLS: redis_url has to be rediss:// or rediss+sentinel://")]
    Unused,
}

/// Where Redis is.
#[derive(Clone, Debug)]
pub(super) struct Target {
    place: Place,
    /// How Redis itself is spoken to.
    info: ConnectionInfo,
    keys: Keys,
}

#[derive(Clone, Debug)]
enum Place {
    /// At the address of the info.
    Fixed,
    /// Where sentinels say.
    Sentinels {
        sentinels: Arc<[ConnectionInfo]>,
        master: Arc<str>,
        /// The sentinel that has answered last.
        first: Arc<AtomicUsize>,
    },
}

/// Lines that lead to the same Redis.
pub(super) struct Lines {
    pub(super) append: MultiplexedConnection,
    pub(super) read: MultiplexedConnection,
    pub(super) address: String,
}

impl Target {
    /// Returns where the settings say that Redis is.
    pub(super) fn of(journal: &RedisJournal, keys: Keys) -> Result<Self, UrlError> {
        let target = Self::parse(&journal.url, keys)?;
        match &journal.identity {
            None => Ok(target),
            Some(_) if !target.is_encrypted() => Err(UrlError::Unused),
            Some(identity) => {
                target.showing(&identity::read(identity).map_err(UrlError::Identity)?)
            }
        }
    }

    /// Shows a certificate to Redis and to sentinels.
    fn showing(mut self, certificates: &TlsCertificates) -> Result<Self, UrlError> {
        let with = |info: &ConnectionInfo| {
            let client = Client::build_with_tls(info.clone(), certificates.clone());
            let client = client.map_err(|error| UrlError::Identity(error.to_string()))?;
            Ok(client.get_connection_info().clone())
        };
        self.info = with(&self.info)?;
        if let Place::Sentinels { sentinels, .. } = &mut self.place {
            *sentinels = sentinels.iter().map(with).collect::<Result<_, UrlError>>()?;
        }
        Ok(self)
    }

    pub(super) fn parse(url: &Secret, keys: Keys) -> Result<Self, UrlError> {
        // The provider of cryptography is that of the process, whoever sets it first.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let url = url.expose();
        let Some((scheme, rest)) = url.split_once("://") else { return Err(UrlError::Scheme) };
        match scheme {
            "redis" | "rediss" | "unix" | "redis+unix" => {
                Ok(Self { place: Place::Fixed, info: info(url)?, keys })
            }
            "redis+sentinel" => Self::by_sentinels(rest, false, keys),
            "rediss+sentinel" => Self::by_sentinels(rest, true, keys),
            _ => Err(UrlError::Scheme),
        }
    }

    fn by_sentinels(rest: &str, tls: bool, keys: Keys) -> Result<Self, UrlError> {
        let scheme = if tls { "rediss" } else { "redis" };
        let (credentials, rest) =
            rest.rsplit_once('@').map_or(("", rest), |(before, rest)| (before, rest));
        if credentials.contains('@') {
            return Err(UrlError::Wrong(format!(
                "user and password stand once, before the first sentinel, and are those of Redis. {ESCAPES}"
            )));
        }
        let (hosts, path) = rest.split_once('/').unwrap_or((rest, ""));
        let (master, database) = path.split_once('/').unwrap_or((path, ""));
        if master.is_empty() {
            return Err(UrlError::Wrong("the name of the master is missing".to_owned()));
        }
        let sentinels = hosts.split(',').map(|host| {
            let has_port = host.rsplit_once(':').is_some_and(|(_, port)| {
                !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit())
            });
            info(&format!("{scheme}://{host}{}", if has_port { "" } else { ":26379" }))
        });
        let sentinels = sentinels.collect::<Result<Vec<_>, _>>()?;
        let at = if credentials.is_empty() { "" } else { "@" };
        let info = info(&format!("{scheme}://{credentials}{at}localhost/{database}"))?;
        let (sentinels, first) = (sentinels.into(), Arc::default());
        let place = Place::Sentinels { sentinels, master: master.into(), first };
        Ok(Self { place, info, keys })
    }

    /// Returns where Redis is said to be, without the credentials of the URL.
    pub(super) fn shown(&self) -> String {
        let database = match self.info.redis_settings().db() {
            0 => String::new(),
            database => format!("/{database}"),
        };
        match (&self.place, self.info.addr()) {
            (Place::Sentinels { sentinels, master, .. }, _) => {
                let scheme = if self.is_encrypted() { "rediss" } else { "redis" };
                let addresses: Vec<_> =
                    sentinels.iter().map(|info| info.addr().to_string()).collect();
                format!("{scheme}+sentinel://{}/{master}{database}", addresses.join(","))
            }
            (Place::Fixed, address @ ConnectionAddr::Unix(_)) => format!("unix://{address}"),
            (Place::Fixed, address @ ConnectionAddr::TcpTls { .. }) => {
                format!("rediss://{address}{database}")
            }
            (Place::Fixed, address) => format!("redis://{address}{database}"),
        }
    }

    /// Returns what an operator should know of the way to Redis.
    pub(super) fn warnings(&self) -> Vec<Finding> {
        let is_local = match self.info.addr() {
            _ if self.moves() => false,
            ConnectionAddr::Tcp(host, _) | ConnectionAddr::TcpTls { host, .. } => is_loopback(host),
            _ => true,
        };
        let mut warnings = Vec::new();
        if !is_local && !self.is_encrypted() {
            warnings.push(Finding::note(
                "encryption",
                "the way to Redis is not encrypted",
                "use rediss:// or a private network",
            ));
        }
        if !is_local && self.info.redis_settings().password().is_none() {
            warnings.push(Finding::note(
                "password",
                "redis_url has no password, and the journal holds messages and ids of connections",
                "let Redis ask for one, and name it in redis_url",
            ));
        }
        warnings
    }

    /// Returns `true` if Redis is reached by TLS.
    pub(super) fn is_encrypted(&self) -> bool {
        matches!(self.info.addr(), ConnectionAddr::TcpTls { .. })
    }

    /// Returns `true` if the address of Redis may change.
    pub(super) fn moves(&self) -> bool {
        matches!(self.place, Place::Sentinels { .. })
    }

    /// Asks each sentinel where the master is. Returns the answers beside the addresses of the sentinels.
    pub(super) async fn ask_sentinels(&self) -> Vec<(String, Result<String, Trouble>)> {
        let Place::Sentinels { sentinels, master, .. } = &self.place else { return Vec::new() };
        let ask = |sentinel: &ConnectionInfo| {
            let (sentinel, master) = (sentinel.clone(), Arc::clone(master));
            async move {
                let answer = ask_sentinel(&sentinel, &master).await;
                let answer = answer.map(|(host, port)| format!("{host}:{port}"));
                (sentinel.addr().to_string(), answer)
            }
        };
        futures_util::future::join_all(sentinels.iter().map(ask)).await
    }

    /// Opens both lines.
    pub(super) async fn lines(&self) -> Result<Lines, Trouble> {
        let (append, info) = self.line_to_owner().await?;
        let read = open(&info, CONNECT).await?;
        Ok(Lines { append, read, address: info.addr().to_string() })
    }

    /// Opens one line, for what has to be in nobody's way. Returns its address beside it.
    pub(super) async fn line(&self) -> Result<(MultiplexedConnection, String), Trouble> {
        let (line, info) = self.line_to_owner().await?;
        Ok((line, info.addr().to_string()))
    }

    /// Returns the address at which Redis is now.
    pub(super) async fn address(&self) -> Result<String, Trouble> {
        Ok(self.find().await?.addr().to_string())
    }

    async fn line_to_owner(&self) -> Result<(MultiplexedConnection, ConnectionInfo), Trouble> {
        let mut info = self.find().await?;
        for _ in 0..REDIRECTS {
            let mut line = open(&info, CONNECT).await?;
            match command::ping(&mut line, &self.keys).await? {
                None => return Ok((line, info)),
                // A node of a cluster names the one that has the keys.
                Some((host, port)) => info = elsewhere(&info, host, port),
            }
        }
        Err(Trouble::Answers("MOVED, again and again".to_owned()))
    }

    async fn find(&self) -> Result<ConnectionInfo, Trouble> {
        let Place::Sentinels { sentinels, master, first, .. } = &self.place else {
            return Ok(self.info.clone());
        };
        let mut last = Trouble::Connect("there are no sentinels".to_owned());
        let from = first.load(Ordering::Relaxed);
        for index in (0..sentinels.len()).map(|index| (from + index) % sentinels.len()) {
            match ask_sentinel(&sentinels[index], master).await {
                Ok((host, port)) => {
                    first.store(index, Ordering::Relaxed);
                    return Ok(elsewhere(&self.info, host, port));
                }
                Err(trouble) => last = trouble,
            }
        }
        Err(last)
    }
}

fn info(url: &str) -> Result<ConnectionInfo, UrlError> {
    let info = url.into_connection_info().map_err(|error| {
        // What stands behind it may be from the URL.
        let text = error.to_string();
        let why = text.split(" - ").next().unwrap_or_default();
        let escapes = if url.contains('@') { format!(". {ESCAPES}") } else { String::new() };
        UrlError::Wrong(format!("{why}{escapes}"))
    })?;
    // What the answers look like should not depend on the server.
    let redis: RedisConnectionInfo = info.redis_settings().clone().set_skip_set_lib_name();
    Ok(info.set_redis_settings(redis))
}

fn elsewhere(info: &ConnectionInfo, host: String, port: u16) -> ConnectionInfo {
    // A node of a cluster that does not know by which name others reach it names none.
    let host = match info.addr() {
        ConnectionAddr::Tcp(own, _) | ConnectionAddr::TcpTls { host: own, .. }
            if host.is_empty() =>
        {
            own.clone()
        }
        _ => host,
    };
    let addr = match info.addr() {
        ConnectionAddr::TcpTls { insecure, tls_params, .. } => ConnectionAddr::TcpTls {
            host,
            port,
            insecure: *insecure,
            tls_params: tls_params.clone(),
        },
        _ => ConnectionAddr::Tcp(host, port),
    };
    info.clone().set_addr(addr)
}

fn is_loopback(host: &str) -> bool {
    let host = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost"
        || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

async fn open(info: &ConnectionInfo, time: Duration) -> Result<MultiplexedConnection, Trouble> {
    let client = Client::open(info.clone()).map_err(|error| Trouble::connect(&error))?;
    // Whoever asks knows how long an answer may take.
    let config =
        AsyncConnectionConfig::new().set_response_timeout(None).set_connection_timeout(Some(time));
    let line = client.get_multiplexed_async_connection_with_config(&config).await;
    line.map_err(|error| Trouble::connect(&error))
}

async fn ask_sentinel(sentinel: &ConnectionInfo, master: &str) -> Result<(String, u16), Trouble> {
    let ask = async {
        let mut line = open(sentinel, SENTINEL).await?;
        let mut pipeline = Pipeline::new();
        pipeline.cmd("SENTINEL").arg("get-master-addr-by-name").arg(master);
        let answer = command::run(&mut line, &pipeline).await?.pop().unwrap_or_default();
        let Value::Array(parts) = answer else {
            return Err(Trouble::Answers(format!("the sentinels know no master {master}")));
        };
        let mut parts = parts.into_iter().map(text);
        match (parts.next().transpose()?, parts.next().transpose()?) {
            (Some(host), Some(port)) => {
                let port = port.parse().map_err(|_| Trouble::unreadable("a port"))?;
                Ok((host, port))
            }
            _ => Err(Trouble::unreadable("an address")),
        }
    };
    tokio::time::timeout(SENTINEL, ask)
        .await
        .unwrap_or_else(|_| Err(Trouble::Connect("a sentinel does not answer".to_owned())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::RedisIdentity;

    fn parse(url: &str) -> Result<Target, UrlError> {
        Target::parse(&Secret::new(url), Keys::new("test"))
    }

    #[test]
    fn urls_name_an_address_or_sentinels() {
        for url in
            ["redis://localhost", "rediss://a:b@redis.example:7000/2", "unix:///run/redis.sock"]
        {
            assert!(!parse(url).unwrap().moves(), "{url}");
        }
        let target = parse("redis+sentinel://:pw@one,two:27000,[::1]:3/main/4").unwrap();
        let Place::Sentinels { sentinels, master, .. } = &target.place else { panic!() };
        let addresses: Vec<_> = sentinels.iter().map(|info| info.addr().to_string()).collect();
        assert_eq!(addresses[..2], ["one:26379", "two:27000"]);
        assert_eq!((&**master, target.is_encrypted()), ("main", false));
        let settings = target.info.redis_settings();
        assert_eq!((settings.password(), settings.db()), (Some("pw"), 4));
        assert!(target.moves());
    }

    #[test]
    fn what_is_shown_has_no_credentials() {
        for (url, shown) in [
            ("redis://localhost", "redis://localhost:6379"),
            ("rediss://a:hidden@redis.example:7000/2", "rediss://redis.example:7000/2"),
            ("unix:///run/redis.sock?pass=hidden", "unix:///run/redis.sock"),
            (
                "rediss+sentinel://a:hidden@one,two:27000/main/4",
                "rediss+sentinel://one:26379,two:27000/main/4",
            ),
        ] {
            assert_eq!(parse(url).unwrap().shown(), shown);
        }
    }

    #[test]
    fn wrong_urls_are_refused_without_being_told() {
        for url in ["", "localhost", "http://localhost", "redis+sentinel://one:1"] {
            assert!(parse(url).is_err(), "{url}");
        }
        let error = parse("redis://user:hidden@host:port").unwrap_err();
        assert!(!error.to_string().contains("hidden"), "{error}");
        assert!(!format!("{:?}", parse("redis://:hidden@host")).contains("hidden"));
    }

    #[test]
    fn what_is_wrong_with_a_url_is_told_with_what_to_change() {
        let why = |url| parse(url).unwrap_err().to_string();
        for url in ["redis://:hid/den@host", "redis://:hid#den@host", "redis://user:12/den@host"] {
            let why = why(url);
            assert!(why.contains("percent-encoded: @ as %40") && !why.contains("den@"), "{why}");
        }
        assert_eq!(why("redis://host/first"), "redis_url: Invalid database number");
        let why = why("redis+sentinel://a:hidden@one:1,c:hidden@two:2/main");
        assert!(why.contains("once, before the first sentinel"), "{why}");
        assert!(!why.contains("hidden"), "{why}");
        let target = parse("redis://us%40er:p%2Fw@host").unwrap();
        let settings = target.info.redis_settings();
        assert_eq!((settings.username(), settings.password()), (Some("us@er"), Some("p/w")));
    }

    #[test]
    fn a_certificate_is_shown_over_tls_to_redis_and_to_sentinels() {
        let of = |url| {
            let identity = Some(RedisIdentity {
                certificate: include_str!("../../../tests/cluster/tls/client.pem").to_owned(),
                key: Secret::new(include_str!("../../../tests/cluster/tls/client.key")),
            });
            let (name, timeout) = ("test".to_owned(), Duration::from_secs(5));
            let journal =
                RedisJournal { url: Secret::new(url), identity, name, replicas: 0, timeout };
            Target::of(&journal, Keys::new("test"))
        };
        let shows = |info: &ConnectionInfo| {
            matches!(info.addr(), ConnectionAddr::TcpTls { tls_params: Some(_), .. })
        };
        let target = of("rediss+sentinel://one,two/main").unwrap();
        let Place::Sentinels { sentinels, .. } = &target.place else { panic!() };
        assert!(shows(&target.info) && sentinels.iter().all(shows));
        assert!(shows(&elsewhere(&target.info, "three".to_owned(), 4)));
        for url in ["redis://one", "redis+sentinel://one/main", "unix:///run/redis.sock"] {
            assert_eq!(of(url).unwrap_err(), UrlError::Unused, "{url}");
        }
    }

    #[test]
    fn what_leaves_the_machine_is_warned_of() {
        let count = |url| parse(url).unwrap().warnings().len();
        assert_eq!(count("redis://127.0.0.1"), 0);
        assert_eq!(count("redis://[::1]:7"), 0);
        assert_eq!(count("unix:///run/redis.sock"), 0);
        assert_eq!(count("redis://redis.example"), 2);
        assert_eq!(count("redis://:pw@redis.example"), 1);
        assert_eq!(count("rediss://:pw@redis.example"), 0);
        assert_eq!(count("redis+sentinel://one/main"), 2);
    }
}
