"""From evidence to a decision: gates, manifest, briefing, registry."""
