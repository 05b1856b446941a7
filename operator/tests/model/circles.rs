//! Whether runs can go in circles.
//!
//! A checker that visits each world once sees no difference between a world that is reached twice and a circle. So the
//! worlds are visited once more, depth first: a step back to a world that is still on the way closes a circle. Without
//! one, every run ends, and the longest is known.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};

use stateright::Model;

/// The number of steps of the longest run; a circle is a panic that tells its worlds.
pub fn longest_run<M>(model: &M) -> usize
where
    M: Model<State: Clone + Hash + std::fmt::Debug>,
{
    let mut search = Search { model, known: HashMap::new(), way: Vec::new() };
    model.init_states().into_iter().map(|world| search.from(world)).max().unwrap_or_default()
}

struct Search<'a, M: Model> {
    model: &'a M,
    /// The longest run from each world; None as long as the world is on the way.
    known: HashMap<u64, Option<usize>>,
    way: Vec<Visit<M::State>>,
}

struct Visit<W> {
    world: W,
    print: u64,
    next: Vec<W>,
    longest: usize,
}

impl<M: Model<State: Clone + Hash + std::fmt::Debug>> Search<'_, M> {
    fn from(&mut self, world: M::State) -> usize {
        let mut longest = self.enter(world).unwrap_or_default();
        while let Some(visit) = self.way.last_mut() {
            visit.longest = visit.longest.max(longest);
            match visit.next.pop() {
                Some(world) => longest = self.enter(world).map_or(0, |steps| steps + 1),
                None => {
                    self.known.insert(visit.print, Some(visit.longest));
                    longest = visit.longest + 1;
                    self.way.pop();
                }
            }
        }
        longest - 1
    }

    /// Goes to a world; the longest run from it if that is known.
    fn enter(&mut self, world: M::State) -> Option<usize> {
        let mut hasher = DefaultHasher::new();
        world.hash(&mut hasher);
        let print = hasher.finish();
        match self.known.get(&print) {
            Some(Some(longest)) => return Some(*longest),
            Some(None) => self.tell_circle(print),
            None => {}
        }
        let next = self.model.next_states(&world);
        self.known.insert(print, None);
        self.way.push(Visit { world, print, next, longest: 0 });
        None
    }

    fn tell_circle(&self, print: u64) -> ! {
        let circle = self.way.iter().skip_while(|visit| visit.print != print);
        let worlds: Vec<String> = circle.map(|visit| format!("{:?}", visit.world)).collect();
        panic!("{} worlds form a circle:\n{}", worlds.len(), worlds.join("\n"));
    }
}
