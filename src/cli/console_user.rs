//! `console-user create`, `list`, `remove`: the operators of the console. A password is asked for at a terminal without
//! being shown, or is the first line of standard input; it is never an argument.

use std::io::{BufRead, IsTerminal, Write};

use clap::Subcommand;
use rustix::termios::{LocalModes, OptionalActions, tcgetattr, tcsetattr};
use secrecy::{ExposeSecret, SecretString};
use serde_json::json;

use super::output::JsonArguments;
use super::{CliError, Desk, Output, timestamp};
use crate::console::password;
use crate::domain::identity::OperatorId;
use crate::domain::operator::{OPERATOR_NAME_MAX, Operator, operator_name};
use crate::settings::Sources;

/// The commands.
#[derive(Debug, Subcommand)]
pub enum ConsoleUserCommand {
    /// Make an operator; the password is asked for, or read from standard input
    Create {
        /// Its name
        #[arg(long)]
        name: String,
        #[command(flatten)]
        output: JsonArguments,
    },
    /// List operators
    List(JsonArguments),
    /// Remove an operator and end its sessions at once
    Remove {
        /// Its name
        #[arg(long)]
        name: String,
        #[command(flatten)]
        output: JsonArguments,
    },
}

pub async fn run(command: ConsoleUserCommand, sources: &Sources) -> Result<(), CliError> {
    match command {
        ConsoleUserCommand::Create { name, output } => {
            let name = known_name(&name)?;
            let password = read_password()?;
            password::check(&password).map_err(CliError::Usage)?;
            create(&Desk::open(sources).await?, name, &password, output).await
        }
        ConsoleUserCommand::List(output) => list(&Desk::open(sources).await?, output).await,
        ConsoleUserCommand::Remove { name, output } => {
            let name = known_name(&name)?;
            remove(&Desk::open(sources).await?, name, output).await
        }
    }
}

fn known_name(text: &str) -> Result<String, CliError> {
    operator_name(text).ok_or_else(|| {
        CliError::Usage(format!(
            "--name: {text:?} is not accepted; 1 to {OPERATOR_NAME_MAX} letters, digits and . - _ @ are"
        ))
    })
}

async fn create(
    desk: &Desk,
    name: String,
    password: &SecretString,
    output: JsonArguments,
) -> Result<(), CliError> {
    let now = desk.clock.now();
    let operator = Operator {
        id: OperatorId::new(now),
        name: name.clone(),
        password_hash: password::hash(password).map_err(CliError::Failed)?,
        created_at: now,
    };
    let id = operator.id;
    let audit = Desk::audit("console_user.create", None, id).with(name.clone());
    if !desk.store.insert_operator(operator, audit).await? {
        return Err(CliError::Failed(format!(
            "there is an operator {name} already; remove it first to give it another password"
        )));
    }
    Output::answer(
        output.json,
        &json!({"id": id.to_string(), "name": name}),
        &[format!("operator {name} ({id}) signs in at /console")],
    );
    Ok(())
}

async fn list(desk: &Desk, output: JsonArguments) -> Result<(), CliError> {
    let operators = desk.store.list_operators().await?;
    let objects: Vec<_> = operators
        .iter()
        .map(|operator| {
            json!({
                "id": operator.id.to_string(),
                "name": operator.name,
                "created_at": timestamp(operator.created_at),
            })
        })
        .collect();
    let lines: Vec<String> = operators
        .iter()
        .map(|operator| format!("{}  {}", operator.id, operator.name))
        .collect();
    Output::answer(output.json, &json!({ "operators": objects }), &lines);
    Ok(())
}

async fn remove(desk: &Desk, name: String, output: JsonArguments) -> Result<(), CliError> {
    let audit = Desk::audit("console_user.remove", None, &name);
    let now = desk.clock.now();
    if !desk.store.remove_operator(name.clone(), now, audit).await? {
        return Err(CliError::Failed(format!("there is no operator {name}")));
    }
    Output::answer(
        output.json,
        &json!({"name": name, "done": true}),
        &[format!("operator {name} removed")],
    );
    Ok(())
}

/// The password: twice from a terminal, else the first line of standard input.
fn read_password() -> Result<SecretString, CliError> {
    if !std::io::stdin().is_terminal() {
        return read_line();
    }
    let first = ask("Password: ")?;
    let second = ask("The same again: ")?;
    if first.expose_secret() != second.expose_secret() {
        return Err(CliError::Usage("the two passwords differ".to_owned()));
    }
    Ok(first)
}

/// Asks at the terminal; what is typed is not shown.
fn ask(question: &str) -> Result<SecretString, CliError> {
    let failed = |error: std::io::Error| CliError::Failed(format!("the terminal: {error}"));
    let terminal = std::io::stdin();
    let shown = tcgetattr(&terminal).map_err(|error| failed(error.into()))?;
    let mut hidden = shown.clone();
    hidden.local_modes.remove(LocalModes::ECHO);
    hidden.local_modes.insert(LocalModes::ECHONL);
    // Hidden before it is asked for: whatever is typed from the question on counts, and none of it shows.
    tcsetattr(&terminal, OptionalActions::Flush, &hidden).map_err(|error| failed(error.into()))?;
    let mut prompt = std::io::stderr().lock();
    let asked = write!(prompt, "{question}").and_then(|()| prompt.flush());
    let line = asked.map_err(failed).and_then(|()| read_line());
    tcsetattr(&terminal, OptionalActions::Now, &shown).map_err(|error| failed(error.into()))?;
    line
}

fn read_line() -> Result<SecretString, CliError> {
    let mut line = String::new();
    std::io::stdin()
        .lock()
        .read_line(&mut line)
        .map_err(|error| CliError::Failed(format!("standard input: {error}")))?;
    Ok(SecretString::from(line.trim_end_matches(['\r', '\n'])))
}
