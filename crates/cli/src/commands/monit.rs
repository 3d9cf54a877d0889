//! `sockeye monit`: a screen with what all instances use, and the last lines of the app that is chosen. It asks keepers once a second, and does nothing between.

use std::collections::VecDeque;
use std::io::{self, IsTerminal};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use clap::Args;
use ratatui::Frame;
use ratatui::crossterm::event::{self, Event, KeyCode, KeyModifiers};
use ratatui::layout::{Constraint, Layout};
use ratatui::style::{Modifier, Style};
use ratatui::text::Line;
use ratatui::widgets::{Block, Paragraph};

use crate::apps::rows::Row;
use crate::apps::tail::{self, Tail};
use crate::apps::{Shape, rows, say_json, table};
use crate::exit;
use crate::holder;
use crate::places::Places;

/// What was typed.
#[derive(Debug, Args)]
pub(crate) struct Flags {
    #[command(flatten)]
    shape: Shape,
}

/// How often keepers are asked.
const PAUSE: Duration = Duration::from_secs(1);

/// How many lines are remembered of the chosen app.
const LINES_MAX: usize = 500;

pub(crate) fn run(flags: &Flags) -> anyhow::Result<ExitCode> {
    let places = holder::places()?;
    if flags.shape.json {
        loop {
            say_json(&rows::rows(&places)?);
            std::thread::sleep(PAUSE);
        }
    }
    if !io::stdout().is_terminal() {
        bail!("monit needs a terminal: sockeye list --json, or monit --json, is for programs");
    }
    let mut terminal = ratatui::try_init().context("cannot use this terminal")?;
    let outcome = show(&mut terminal, &places);
    ratatui::restore();
    outcome.map(|()| ExitCode::from(exit::OK))
}

fn show(terminal: &mut ratatui::DefaultTerminal, places: &Places) -> anyhow::Result<()> {
    let mut screen = Screen::default();
    let mut due = Instant::now();
    loop {
        if Instant::now() >= due {
            screen.rows = rows::rows(places)?;
            screen.listen(places)?;
            due = Instant::now() + PAUSE;
        }
        screen.hear()?;
        terminal.draw(|frame| screen.draw(frame))?;
        if !event::poll(due.saturating_duration_since(Instant::now()))? {
            continue;
        }
        let Event::Key(key) = event::read()? else { continue };
        let is = |codes: [KeyCode; 2]| codes.contains(&key.code);
        let is_interrupt = is([KeyCode::Char('c'); 2]) && key.modifiers.contains(KeyModifiers::CONTROL);
        if is([KeyCode::Char('q'), KeyCode::Esc]) || is_interrupt {
            return Ok(());
        }
        let by = isize::from(is([KeyCode::Down, KeyCode::Char('j')]))
            - isize::from(is([KeyCode::Up, KeyCode::Char('k')]));
        screen.choose(by, places)?;
    }
}

/// What is shown.
#[derive(Default)]
struct Screen {
    rows: Vec<Row>,
    chosen: usize,
    /// Whose lines are heard.
    app: Option<String>,
    tails: Vec<Tail>,
    lines: VecDeque<String>,
}

impl Screen {
    fn choose(&mut self, by: isize, places: &Places) -> anyhow::Result<()> {
        self.chosen = self.chosen.saturating_add_signed(by).min(self.rows.len().saturating_sub(1));
        self.listen(places)
    }

    /// Hears the chosen app, if that is another one than before.
    fn listen(&mut self, places: &Places) -> anyhow::Result<()> {
        self.chosen = self.chosen.min(self.rows.len().saturating_sub(1));
        let app = self.rows.get(self.chosen).map(|row| row.name.clone());
        if app == self.app {
            return Ok(());
        }
        self.lines.clear();
        self.tails = match &app {
            Some(app) => tail::tails(std::slice::from_ref(app), places)?,
            None => Vec::new(),
        };
        for tail in &mut self.tails {
            let last = tail.last(LINES_MAX)?;
            self.lines.extend(last.iter().map(|line| tail.marked(line)));
        }
        self.app = app;
        Ok(())
    }

    fn hear(&mut self) -> io::Result<()> {
        for tail in &mut self.tails {
            for line in tail.more()? {
                self.lines.push_back(tail.marked(&line));
            }
        }
        let excess = self.lines.len().saturating_sub(LINES_MAX);
        self.lines.drain(..excess);
        Ok(())
    }

    fn draw(&self, frame: &mut Frame<'_>) {
        let height =
            u16::try_from(self.rows.len() + 3).unwrap_or(u16::MAX).min(frame.area().height / 2).max(4);
        let [above, below] =
            Layout::vertical([Constraint::Length(height), Constraint::Min(3)]).areas(frame.area());
        let sessions: u32 = self.rows.iter().map(|row| row.sessions).sum();
        let memory: u64 = self.rows.iter().map(|row| row.memory).sum();
        // Not `sum`: that of nothing is -0.
        let cpu = self.rows.iter().fold(0.0, |sum, row| sum + row.cpu);
        let title = format!(
            " {} instances  {sessions} sessions  {cpu:.1}% cpu  {} ",
            self.rows.len(),
            table::bytes(memory)
        );
        let text = apps(&self.rows);
        let lines: Vec<_> = text
            .lines()
            .enumerate()
            .map(|(index, line)| {
                let is_chosen = index == self.chosen + 1;
                let style =
                    if is_chosen { Style::new().add_modifier(Modifier::REVERSED) } else { Style::new() };
                Line::styled(line.to_owned(), style)
            })
            .collect();
        let room = usize::from(height.saturating_sub(2));
        let first = (self.chosen + 2).saturating_sub(room);
        let scroll = u16::try_from(first).unwrap_or_default();
        frame.render_widget(
            Paragraph::new(lines).scroll((scroll, 0)).block(Block::bordered().title(title)),
            above,
        );
        let room = usize::from(below.height.saturating_sub(2));
        let last = self.lines.iter().skip(self.lines.len().saturating_sub(room));
        let lines: Vec<_> = last.map(|line| Line::raw(line.replace('\t', "    "))).collect();
        let title = format!(" {}   ↑ ↓ choose, q leave ", self.app.as_deref().unwrap_or("no app"));
        frame.render_widget(Paragraph::new(lines).block(Block::bordered().title(title)), below);
    }
}

/// The part of the list that moves. Pure.
fn apps(rows: &[Row]) -> String {
    let head = ["id", "name", "status", "cpu", "mem", "sessions", "↺", "uptime"];
    let mut lines = vec![head.map(str::to_owned).to_vec()];
    lines.extend(rows.iter().map(|row| {
        vec![
            row.id.to_string(),
            row.name.clone(),
            row.status.clone(),
            format!("{:.1}%", row.cpu),
            table::bytes(row.memory),
            row.sessions.to_string(),
            row.restarts.to_string(),
            row.uptime.map_or_else(|| "0".to_owned(), table::age),
        ]
    }));
    table::align(&lines)
}

#[cfg(test)]
mod tests {
    use super::*;
    use ratatui::Terminal;
    use ratatui::backend::TestBackend;

    #[test]
    fn the_screen_shows_what_instances_use_and_what_the_chosen_one_says() {
        let screen = Screen {
            lines: ["0|web | hello".to_owned()].into(),
            app: Some("web".to_owned()),
            ..Screen::default()
        };
        let mut terminal = Terminal::new(TestBackend::new(60, 12)).unwrap();
        terminal.draw(|frame| screen.draw(frame)).unwrap();
        let shown = terminal.backend().to_string();
        for part in ["0 instances  0 sessions  0.0% cpu  0b", "id  name  status", "0|web | hello", "q leave"]
        {
            assert!(shown.contains(part), "{part} in\n{shown}");
        }
    }
}
