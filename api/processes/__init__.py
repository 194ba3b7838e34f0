"""Child processes: run one to its end, supervise several, and end them with their parent. May import net, settings, errors."""
