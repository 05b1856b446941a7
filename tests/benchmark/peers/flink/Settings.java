import java.util.Map;
import java.util.Properties;
import org.apache.flink.configuration.Configuration;
import org.apache.flink.streaming.api.environment.StreamExecutionEnvironment;

/** What both programs set, and why. Everything else is Flink's default, or Kafka's. */
final class Settings {
    private Settings() {}

    /** Job manager and task manager in this process, one task. */
    static StreamExecutionEnvironment environment() {
        var settings = new Configuration();
        // A checkpoint, and with it a commit, each second: what every engine does here.
        settings.setString("execution.checkpointing.interval", "1s");
        settings.setString("execution.checkpointing.dir", "file://" + System.getProperty("java.io.tmpdir") + "/flink");
        // Records go from operator to operator without a copy; none of these jobs keeps one.
        settings.setString("pipeline.object-reuse", "true");
        // It is for sorting and for state in RocksDB, which no job has: little, for the sake of the RSS.
        settings.setString("taskmanager.memory.managed.size", "64m");
        return StreamExecutionEnvironment.createLocalEnvironment(1, settings);
    }

    static Map<String, String> consumer() {
        return Map.of(
                // Ten times the default: the fetcher's thread hands a poll over at a time, which costs by the poll.
                "max.poll.records", "5000",
                // What every engine reads here.
                "isolation.level", "read_committed");
    }

    static Map<String, String> producer(String compression) {
        return Map.of(
                // 16 times the default, and time to fill it: so many fewer requests.
                "batch.size", "262144",
                "linger.ms", "20",
                // Twice the default: room for batches of that size while others are on their way.
                "buffer.memory", "67108864",
                // Flink's own default is an hour, which brokers refuse; theirs is at most 15 minutes.
                "transaction.timeout.ms", "600000",
                "compression.type", compression);
    }

    static Properties properties(Map<String, String> settings) {
        var properties = new Properties();
        properties.putAll(settings);
        return properties;
    }
}
