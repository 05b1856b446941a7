//! Encryption, authentication, authorisation: what works with exactly the rights that `docs/security.md` lists, and what
//! is said when something is missing.

use std::fs;
use std::net::Ipv4Addr;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use millstream_tests::client::Record;
use millstream_tests::cluster::{PASSWORD, Settings, USER};
use millstream_tests::oracle;
use millstream_tests::pipeline::{DONE, GUARD, Millstream};
use millstream_tests::ports;
use millstream_tests::suite::{Case, Suite};
use millstream_tests::tls::Authority;
use millstream_tests::wait;

fn main() -> ExitCode {
    Suite::new(Settings::new().secured())
        .test("scram_over_tls_with_the_listed_acls", scram)
        .test("plain_over_tls", plain)
        .test("mutual_tls_with_the_listed_acls", mutual_tls)
        .test("each_listed_acl_is_needed", each_acl)
        .test("a_state_topic_made_beforehand_needs_no_create", without_create)
        .test("a_wrong_password_is_told", wrong_password)
        .test("a_wrong_ca_is_told", wrong_ca)
        .test("a_missing_client_certificate_is_told", no_certificate)
        .test("an_unreachable_broker_is_told_and_waited_for", unreachable)
        .test("a_missing_secret_is_told", missing_secret)
        .test("a_password_is_changed_while_records_flow", changed_password)
        .test("a_client_certificate_is_changed_while_records_flow", changed_certificate)
        // One of them takes all ACLs away.
        .serial()
        .run()
}

/// The pipeline of all tests, which uses everything that needs a right.
const SPEC: &str = "\
sources: [{name: in, kafka: {topics: [~in]}, format: {type: Csv}, schema: [{name: n, type: int}]}]
transforms: [{name: all, filter: n >= 0}]
sinks: [{name: out, kafka: {topic: ~out}, format: {type: Csv}}]
errors: {policy: DeadLetter, deadLetter: {topic: ~dead}}
checkpoint: {interval: 100ms}
shards: 2
mode: Batch
";

const TLS: &str = "tls: {ca: {secretRef: {name: ca, key: ca.crt}}}";
const MUTUAL: &str = "tls: {ca: {secretRef: {name: ca, key: ca.crt}}, certificate: {secretRef: {name: certificate}}}";

fn sasl(mechanism: &str) -> String {
    format!("{TLS}, sasl: {{mechanism: {mechanism}, secretRef: {{name: user}}}}")
}

/// Topics with ten good records and a bad one.
fn prepare(case: &Case<'_>) -> Result<()> {
    case.topics(&[("in", 2), ("out", 2), ("dead", 1)])?;
    let value = |n: i32| if n == 5 { "x".to_owned() } else { n.to_string() };
    case.client.write((0..11).map(|n| Record::new(&case.topic("in"), value(n)).to(n % 2)))
}

fn manifest(case: &Case<'_>, bootstrap: &str, security: &str) -> Result<PathBuf> {
    let connections = format!("connections: [{{name: main, kafka: {{bootstrapServers: '{bootstrap}', {security}}}}}]");
    case.manifest_with(&connections, SPEC)
}

/// All secrets as a user would mount them.
fn secrets(case: &Case<'_>) -> Result<PathBuf> {
    let authority = case.cluster.authority()?;
    let directory = case.directory().join("secrets");
    let put = |secret: &str, key: &str, content: &[u8]| -> Result<()> {
        fs::create_dir_all(directory.join(secret))?;
        Ok(fs::write(directory.join(secret).join(key), content)?)
    };
    put("ca", "ca.crt", &fs::read(authority.ca())?)?;
    put("certificate", "tls.crt", &fs::read(authority.certificate(USER))?)?;
    put("certificate", "tls.key", &fs::read(authority.key(USER))?)?;
    put("user", "username", USER.as_bytes())?;
    put("user", "password", format!("{PASSWORD}\n").as_bytes())?;
    Ok(directory)
}

fn start(case: &Case<'_>, manifest: &Path, secrets: &Path, log: &str) -> Result<Millstream> {
    case.run(manifest, log).secrets(secrets).start()
}

/// A batch that goes through, with nothing of the password in its log.
fn goes_through(case: &Case<'_>, bootstrap: &str, security: &str) -> Result<()> {
    let mut pipeline = start(case, &manifest(case, bootstrap, security)?, &secrets(case)?, "run")?;
    pipeline.expect_exit(DONE, GUARD)?;
    ensure!(!pipeline.output().contains(PASSWORD), "the password is in the log");
    let (out, dead) = (case.client.read(&case.topic("out"))?.len(), case.client.read(&case.topic("dead"))?.len());
    ensure!((out, dead) == (10, 1), "{out} records and {dead} dead letters");
    Ok(())
}

/// A batch that is refused, with all of `words` in the message.
fn is_refused(case: &Case<'_>, bootstrap: &str, security: &str, secrets: &Path, words: &[&str]) -> Result<()> {
    let mut pipeline = start(case, &manifest(case, bootstrap, security)?, secrets, "refused")?;
    pipeline.expect_stop(words)?;
    ensure!(!pipeline.output().contains(PASSWORD), "the password is in the log");
    Ok(())
}

/// A right, as `docs/security.md` lists it.
#[derive(Clone, Debug)]
struct Acl {
    resource: String,
    pattern: String,
    names: Vec<String>,
    operation: String,
}

impl Acl {
    fn line(&self, principal: &str) -> String {
        let line = |name: &String| {
            format!("{principal} {} {} {name} {}\n", self.resource, self.pattern.to_uppercase(), self.operation)
        };
        self.names.iter().map(line).collect()
    }
}

/// The rights in the table of the documentation, for the pipeline of this test: an entry for each operation.
fn listed(case: &Case<'_>) -> Result<Vec<Acl>> {
    let document = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/security.md");
    let text = fs::read_to_string(&document).with_context(|| document.display().to_string())?;
    let rows = text.lines().filter_map(|line| {
        let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        (cells.len() == 5 && ["Topic", "Group", "TransactionalId", "Cluster"].contains(&cells[0])).then_some(cells)
    });
    let mut acls = Vec::new();
    for row in rows {
        let pattern = if row[2].starts_with("prefixed") { "prefixed" } else { "literal" };
        for operation in row[3].split(',').map(str::trim) {
            let names = names(case, row[1])?;
            acls.push(Acl { resource: row[0].into(), pattern: pattern.into(), names, operation: operation.into() });
        }
    }
    ensure!(acls.len() >= 8, "the table of ACLs in {} is not understood: {acls:?}", document.display());
    Ok(acls)
}

/// What a name in the table means for the pipeline of this test.
fn names(case: &Case<'_>, name: &str) -> Result<Vec<String>> {
    let id = case.application_id();
    Ok(match name.trim_matches('`') {
        "each source topic" => vec![case.topic("in")],
        "each sink topic, the dead-letter topic" => vec![case.topic("out"), case.topic("dead")],
        "<id>.state" => vec![format!("{id}.state")],
        "<id>." => vec![format!("{id}.")],
        "<id>" => vec![id],
        other => bail!("the table of ACLs names `{other}`, which this test does not know"),
    })
}

fn allow(case: &Case<'_>, principal: &str, acls: &[Acl]) -> Result<()> {
    case.cluster.allow(&acls.iter().map(|acl| acl.line(principal)).collect::<String>())
}

fn scram(case: &Case<'_>) -> Result<()> {
    prepare(case)?;
    allow(case, "User:millstream", &listed(case)?)?;
    goes_through(case, &case.cluster.bootstrap_sasl(), &sasl("ScramSha512"))?;
    // The other mechanism gets as far as to see that the batch is complete.
    let manifest = manifest(case, &case.cluster.bootstrap_sasl(), &sasl("ScramSha256"))?;
    start(case, &manifest, &secrets(case)?, "sha256")?.expect_exit(DONE, GUARD)
}

fn plain(case: &Case<'_>) -> Result<()> {
    prepare(case)?;
    allow(case, "User:millstream", &listed(case)?)?;
    goes_through(case, &case.cluster.bootstrap_sasl(), &sasl("Plain"))
}

fn mutual_tls(case: &Case<'_>) -> Result<()> {
    prepare(case)?;
    allow(case, "User:CN=millstream", &listed(case)?)?;
    goes_through(case, &case.cluster.bootstrap_tls(), MUTUAL)
}

/// With any one of the listed rights missing, the run ends with a message that names the resource: the list is no longer
/// than it must be. Describe is implied by Read and Write, so that its absence beside them changes nothing.
fn each_acl(case: &Case<'_>) -> Result<()> {
    prepare(case)?;
    let all = listed(case)?;
    let implied = |acl: &Acl| acl.operation == "Describe";
    for (number, missing) in all.iter().enumerate().filter(|(_, acl)| !implied(acl)) {
        // Another application id for each, so that no right and no state is left from the one before.
        let id = format!("{}.{number}", case.application_id());
        let rename = |acl: &Acl| Acl {
            names: acl.names.iter().map(|name| name.replacen(&case.application_id(), &id, 1)).collect(),
            ..acl.clone()
        };
        let principal = "User:CN=millstream";
        let rest: Vec<Acl> = all.iter().enumerate().filter(|(n, _)| *n != number).map(|(_, acl)| rename(acl)).collect();
        case.cluster.revoke_all()?;
        allow(case, principal, &rest)?;
        let manifest = manifest(case, &case.cluster.bootstrap_tls(), MUTUAL)?;
        let text = fs::read_to_string(&manifest)?.replace(&case.application_id(), &id);
        fs::write(&manifest, text)?;
        let mut pipeline = start(case, &manifest, &secrets(case)?, &format!("without-{number}"))?;
        if pipeline.wait(GUARD)? == DONE {
            // A first start has nothing to read in the state topic yet.
            pipeline = start(case, &manifest, &secrets(case)?, &format!("again-without-{number}"))?;
        }
        let names = &rename(missing).names;
        pipeline
            .expect_exit(millstream_tests::pipeline::STOPPED, GUARD)
            .and_then(|()| ensure_named(&pipeline, names))
            .with_context(|| format!("without {missing:?}"))?;
    }
    Ok(())
}

/// The log names one of the resources and says that it is about authorisation.
fn ensure_named(pipeline: &Millstream, names: &[String]) -> Result<()> {
    pipeline.expect_words(&["authoriz"])?;
    let named = names.iter().any(|name| pipeline.expect_words(&[name.trim_end_matches('.')]).is_ok());
    ensure!(named, "none of {names:?} is named");
    Ok(())
}

fn without_create(case: &Case<'_>) -> Result<()> {
    prepare(case)?;
    let state = format!("{}.state", case.application_id());
    let settings = [("cleanup.policy", "compact"), ("unclean.leader.election.enable", "false")];
    case.client.create_topic(&state, 2, &settings)?;
    let acls: Vec<Acl> = listed(case)?.into_iter().filter(|acl| acl.operation != "Create").collect();
    allow(case, "User:millstream", &acls)?;
    goes_through(case, &case.cluster.bootstrap_sasl(), &sasl("ScramSha512"))
}

fn wrong_password(case: &Case<'_>) -> Result<()> {
    prepare(case)?;
    let secrets = secrets(case)?;
    fs::write(secrets.join("user/password"), "another")?;
    is_refused(case, &case.cluster.bootstrap_sasl(), &sasl("ScramSha512"), &secrets, &["authentication"])
}

fn wrong_ca(case: &Case<'_>) -> Result<()> {
    prepare(case)?;
    let secrets = secrets(case)?;
    let other = Authority::create(&case.directory().join("other"))?;
    fs::copy(other.ca(), secrets.join("ca/ca.crt"))?;
    is_refused(case, &case.cluster.bootstrap_sasl(), &sasl("ScramSha512"), &secrets, &["certificate"])
}

fn no_certificate(case: &Case<'_>) -> Result<()> {
    prepare(case)?;
    is_refused(case, &case.cluster.bootstrap_tls(), TLS, &secrets(case)?, &["certificate"])
}

fn missing_secret(case: &Case<'_>) -> Result<()> {
    prepare(case)?;
    let secrets = secrets(case)?;
    fs::remove_file(secrets.join("user/password"))?;
    let manifest = manifest(case, &case.cluster.bootstrap_sasl(), &sasl("ScramSha512"))?;
    let mut pipeline = start(case, &manifest, &secrets, "missing")?;
    let code = pipeline.wait(GUARD)?;
    ensure!(code != DONE, "it ran without a password");
    pipeline.expect_words(&["user", "password"])
}

/// A pipeline that runs until it is stopped.
const FLOW: &str = "\
sources: [{name: in, kafka: {topics: [~in]}, format: {type: Raw}}]
sinks: [{name: out, kafka: {topic: ~out}, format: {type: Raw}}]
checkpoint: {interval: 100ms}
shards: 2
";

/// The user whose secrets are changed, so that those of the other tests stay as they are.
const ROTATED: &str = "rotated";

/// A pipeline through which records flow, a partition for each of its shards.
struct Flow<'a> {
    case: &'a Case<'a>,
    pipeline: Millstream,
    written: u64,
}

impl<'a> Flow<'a> {
    fn start(case: &'a Case<'a>, bootstrap: &str, security: &str, secrets: &Path) -> Result<Self> {
        case.topics(&[("in", 2), ("out", 2)])?;
        let connections =
            format!("connections: [{{name: main, kafka: {{bootstrapServers: '{bootstrap}', {security}}}}}]");
        let manifest = case.manifest_with(&connections, FLOW)?;
        let mut flow = Self { case, pipeline: start(case, &manifest, secrets, "flow")?, written: 0 };
        flow.pipeline.wait_ready()?;
        flow.all_there()?;
        Ok(flow)
    }

    /// Some more records, with the values that the oracle reads.
    fn write(&mut self) -> Result<()> {
        let topic = self.case.topic("in");
        let range = self.written..self.written + 20;
        let record = |n: u64| Record::new(&topic, format!("{},{}", n % 2, n / 2)).to((n % 2) as i32);
        self.case.client.write(range.map(record))?;
        self.written += 20;
        self.pipeline.must_run()
    }

    /// Writes until every shard has made its clients anew so many times.
    fn until_rotated(&mut self, times: u32) -> Result<()> {
        wait::until_true(&format!("{times} rotations of each shard"), GUARD, || {
            self.write()?;
            let rotations =
                |shard: &str| self.pipeline.metric("millstream_takeovers_total", &["reason=\"rotation\"", shard]);
            Ok(["shard=\"0\"", "shard=\"1\""].iter().all(|shard| rotations(shard).is_ok_and(|n| n >= times.into())))
        })
    }

    /// Writes until the log has the words.
    fn until_said(&mut self, words: &str) -> Result<()> {
        wait::until_true(&format!("the log to say `{words}`"), GUARD, || {
            self.write()?;
            Ok(self.pipeline.expect_words(&[words]).is_ok())
        })
    }

    /// Records go through, and the oracle finds each of all of them once and in order.
    fn all_there(&mut self) -> Result<()> {
        self.write()?;
        let out = self.case.topic("out");
        self.case.client.read_until(&out, self.written as usize, Duration::from_mins(2))?;
        oracle::check(self.case.cluster, &[&out], &[self.written / 2; 2])?.demand_exactly_once()?;
        self.pipeline.must_run()
    }
}

/// The cluster forgets a password before the files change, and after; connections are cut; in the end the file is gone.
/// The process lives through all of it, and each record comes out once.
fn changed_password(case: &Case<'_>) -> Result<()> {
    let passwords = ["the first; one", "the second = one", "the third one"];
    let secrets = secrets(case)?;
    let put = |password: &str| fs::write(secrets.join("user/password"), password);
    case.cluster.set_password(ROTATED, passwords[0])?;
    fs::write(secrets.join("user/username"), ROTATED)?;
    put(passwords[0])?;
    allow(case, &format!("User:{ROTATED}"), &listed(case)?)?;
    let mut flow = Flow::start(case, &case.cluster.bootstrap_sasl(), &sasl("ScramSha512"), &secrets)?;

    // Nobody can log in with the first one from here on.
    case.cluster.set_password(ROTATED, passwords[1])?;
    put(passwords[1])?;
    flow.until_rotated(1)?;
    case.cluster.stop(0)?;
    case.cluster.start_node(0)?;
    flow.all_there()?;

    put(passwords[2])?;
    flow.until_said("the secrets have changed and are refused")?;
    flow.all_there()?;
    case.cluster.set_password(ROTATED, passwords[2])?;
    flow.until_rotated(2)?;
    flow.all_there()?;

    fs::remove_file(secrets.join("user/password"))?;
    flow.until_said("the secrets cannot be read any more")?;
    flow.all_there()?;
    for password in passwords {
        ensure!(!flow.pipeline.output().contains(password), "a password is in the log");
    }
    flow.pipeline.stop()
}

/// Another certificate of the same CA, written as the kubelet does it. Its principal is another one, so that what the
/// pipeline may do tells which one it uses.
fn changed_certificate(case: &Case<'_>) -> Result<()> {
    let authority = case.cluster.authority()?;
    authority.issue(ROTATED, Ipv4Addr::LOCALHOST)?;
    let secrets = secrets(case)?;
    fs::remove_dir_all(secrets.join("certificate"))?;
    let mount = |name: &str| -> Result<()> {
        let files = [("tls.crt", fs::read(authority.certificate(name))?), ("tls.key", fs::read(authority.key(name))?)];
        mount(&secrets.join("certificate"), name, &files)
    };
    mount(USER)?;
    let principal = |name: &str| format!("User:CN={name}");
    for name in [USER, ROTATED] {
        allow(case, &principal(name), &listed(case)?)?;
    }
    let mut flow = Flow::start(case, &case.cluster.bootstrap_tls(), MUTUAL, &secrets)?;
    mount(ROTATED)?;
    flow.until_rotated(1)?;
    case.cluster.revoke(&principal(USER))?;
    flow.all_there()?;
    flow.pipeline.stop()
}

/// Writes a secret as the kubelet does: its files are links into a folder that is replaced as a whole.
fn mount(secret: &Path, revision: &str, files: &[(&str, Vec<u8>)]) -> Result<()> {
    let data = format!("..{revision}");
    fs::create_dir_all(secret.join(&data))?;
    for (key, content) in files {
        fs::write(secret.join(&data).join(key), content)?;
        if !secret.join(key).exists() {
            symlink(Path::new("..data").join(key), secret.join(key))?;
        }
    }
    symlink(&data, secret.join("..data_tmp"))?;
    Ok(fs::rename(secret.join("..data_tmp"), secret.join("..data"))?)
}

/// Nobody listens: the run waits, says for whom, and ends in order when asked to.
fn unreachable(case: &Case<'_>) -> Result<()> {
    let address = format!("127.0.0.1:{}", ports::free(1)?[0]);
    let manifest = manifest(case, &address, TLS)?;
    let mut pipeline = start(case, &manifest, &secrets(case)?, "unreachable")?;
    let ended = wait::until("a word about the broker", GUARD, || {
        let code = pipeline.code()?;
        Ok((code.is_some() || pipeline.expect_words(&[&address]).is_ok()).then_some(code))
    })?;
    pipeline.expect_words(&[&address])?;
    match ended {
        None => pipeline.stop(),
        Some(code) => {
            ensure!(code == millstream_tests::pipeline::STOPPED, "exit code {code}");
            Ok(())
        }
    }
}
