//! Whether a member serves: a machine that is told what came of each question and of each connect.

use crate::config;

/// What is known of one member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Health {
    state: State,
    rise: u16,
    fall: u16,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Nothing is known yet: the first good answer lets it in.
    Fresh,
    /// It serves; so many bad answers in a row.
    Up(u16),
    /// It does not; so many good answers in a row.
    Down(u16),
}

impl Health {
    /// A member that nobody has asked yet. Where nothing is ever asked it serves until a connect fails.
    pub(crate) const fn new(config: &config::Health) -> Self {
        let state = match config.check {
            config::Check::Off => State::Up(0),
            config::Check::Connect | config::Check::Http(_) => State::Fresh,
        };
        Self { state, rise: config.rise.get(), fall: config.fall.get() }
    }

    /// It answered well. Tells whether it serves, where that changed.
    pub(crate) const fn handle_good(&mut self) -> Option<bool> {
        let (state, turned) = match self.state {
            State::Fresh => (State::Up(0), Some(true)),
            State::Up(_) => (State::Up(0), None),
            State::Down(good) if good + 1 >= self.rise => (State::Up(0), Some(true)),
            State::Down(good) => (State::Down(good + 1), None),
        };
        self.state = state;
        turned
    }

    /// It answered badly, or not at all. Tells whether it serves, where that changed.
    pub(crate) const fn handle_bad(&mut self) -> Option<bool> {
        let (state, turned) = match self.state {
            State::Fresh => (State::Fresh, None),
            State::Up(bad) if bad + 1 >= self.fall => (State::Down(0), Some(false)),
            State::Up(bad) => (State::Up(bad + 1), None),
            State::Down(_) => (State::Down(0), None),
        };
        self.state = state;
        turned
    }

    /// It refused the connection of a client's request: nobody listens. Tells whether it serves, where that changed.
    pub(crate) const fn handle_refused(&mut self) -> Option<bool> {
        let (state, turned) = match self.state {
            State::Fresh => (State::Fresh, None),
            State::Up(_) => (State::Down(0), Some(false)),
            State::Down(_) => (State::Down(0), None),
        };
        self.state = state;
        turned
    }

    pub(crate) const fn is_up(&self) -> bool {
        matches!(self.state, State::Up(_))
    }

    /// The numbers are others from here on.
    pub(crate) const fn handle_config(&mut self, config: &config::Health) {
        (self.rise, self.fall) = (config.rise.get(), config.fall.get());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Check;

    #[test]
    fn members_rise_and_fall_as_the_rows_say() {
        // g: good, b: bad, r: refused; by default two good ones and three bad ones in a row.
        for (words, up) in [
            ("", false),
            ("b", false),
            ("g", true),
            ("bbbbg", true),
            ("gbb", true),
            ("gbbg", true),
            ("gbbgbb", true),
            ("gbbb", false),
            ("gbbbg", false),
            ("gbbbgg", true),
            ("gbbbgbg", false),
            ("gr", false),
            ("grg", false),
            ("grgg", true),
            ("grgrg", false),
        ] {
            let mut health = Health::new(&config::Health::default());
            let mut last = false;
            for word in words.chars() {
                let before = health.is_up();
                let turned = match word {
                    'g' => health.handle_good(),
                    'b' => health.handle_bad(),
                    _ => health.handle_refused(),
                };
                last = health.is_up();
                assert_eq!(turned, (before != last).then_some(last), "{words}");
            }
            assert_eq!(last, up, "{words}");
        }
    }

    #[test]
    fn one_that_nobody_asks_serves_until_it_refuses() {
        let mut health = Health::new(&config::Health { check: Check::Off, ..config::Health::default() });
        assert!(health.is_up());
        assert_eq!(health.handle_refused(), Some(false));
        assert_eq!((health.handle_good(), health.handle_good()), (None, Some(true)));
    }
}
