//! Densities of times: where they put them, and that ranks and times lead to each other.

use aquatint_diffusion::{Time, TimeDensity, TimeGrid};

fn at(t: f64) -> Time {
    Time::new(t).unwrap()
}

/// A density that has observed a cost of this shape.
fn observed(cost: impl Fn(f64) -> f64) -> TimeDensity {
    let mut density = TimeDensity::new();
    for _ in 0..3 {
        density.observe((0..500).map(|i| f64::from(i) / 500.0 + 0.001).map(|t| (at(t), cost(t))));
    }
    density
}

#[test]
fn no_observation_is_even() {
    let density = TimeDensity::new();
    for t in [0.0, 0.3, 1.0] {
        assert!((density.density(at(t)) - 1.0).abs() < 1e-12);
        assert!((density.grid().time(t).value() - t).abs() < 1e-12 && (TimeGrid::default().time(t).value() - t) == 0.0);
    }
}

#[test]
fn times_are_where_the_cost_rises() {
    // It rises from 0 to 5 between 0.4 and 0.6 alone.
    let density = observed(|t| 25.0 * (t - 0.4).clamp(0.0, 0.2));
    let inside = |low: f64, high: f64| {
        let ranks = (0..1000).map(|i| density.grid().time((f64::from(i) + 0.5) / 1000.0).value());
        ranks.filter(|t| (low..high).contains(t)).count()
    };
    assert!(inside(0.38, 0.62) > 900, "{}", inside(0.38, 0.62));
    assert!(inside(0.0, 0.2) > 10 && inside(0.8, 1.0) > 10, "no time is given up");
    let integral: f64 = (0..1000).map(|i| density.density(at((f64::from(i) + 0.5) / 1000.0)) / 1000.0).sum();
    assert!((integral - 1.0).abs() < 1e-9);
}

#[test]
fn the_grid_is_the_densitys_own() {
    let density = observed(|t| t * t);
    let grid = density.grid();
    for t in [0.11, 0.35, 0.77] {
        // The derivative of the rank is the density.
        let ranks: Vec<f64> = (0..=20_000).map(|i| f64::from(i) / 20_000.0).collect();
        let rank = |t: f64| ranks.partition_point(|rank| grid.time(*rank).value() < t) as f64 / 20_000.0;
        let slope = (rank(t + 0.005) - rank(t - 0.005)) / 0.01;
        assert!((slope / density.density(at(t)) - 1.0).abs() < 0.03, "at {t}: {slope}");
    }
    assert_eq!((grid.time(0.0), grid.time(1.0)), (Time::CLEAN, Time::NOISE));
    let again = TimeGrid::new(grid.ranks().to_vec()).unwrap();
    assert_eq!(again, grid);
    for wrong in [vec![0.0, 0.5, 0.4, 1.0], vec![0.1, 1.0], vec![0.0, 0.9]] {
        assert!(TimeGrid::new(wrong.clone()).is_none(), "{wrong:?}");
    }
}

#[test]
fn a_grid_of_times_leads_from_one_to_the_next() {
    let times = [0.0, 0.125, 0.25, 0.75, 1.0];
    let grid = TimeGrid::of_times(times.to_vec()).unwrap();
    for (index, time) in times.iter().enumerate() {
        assert_eq!(grid.time(index as f64 / 4.0).value(), *time);
    }
    assert_eq!(grid.time(0.625).value(), 0.5);
    for wrong in [vec![], vec![0.0], vec![0.0, 0.5, 0.5, 1.0], vec![0.1, 1.0], vec![0.0, 0.9]] {
        assert!(TimeGrid::of_times(wrong.clone()).is_none(), "{wrong:?}");
    }
}

#[test]
fn costs_are_saved_between_runs() {
    let density = observed(|t| t);
    assert_eq!(TimeDensity::from_costs(density.costs().iter().copied()), density);
    let mut broken = density.clone();
    broken.observe([(at(0.5), f64::NAN), (at(0.5), f64::INFINITY)]);
    assert_eq!(broken, density, "what is no number is not seen");
}
