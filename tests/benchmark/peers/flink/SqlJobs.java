import java.util.Map;
import java.util.TreeMap;
import java.util.stream.Collectors;
import org.apache.flink.table.api.bridge.java.StreamTableEnvironment;

/** The jobs in Flink SQL, exactly once. */
public final class SqlJobs {
    private static final String TEXT = "`text` STRING";
    private static final String LINE =
            "ts BIGINT, sensor STRING, kind STRING, `value` DOUBLE, site STRING, seq BIGINT, note STRING";
    private static final String READING =
            "sensor STRING, kind STRING, `value` DOUBLE, ts BIGINT, site STRING, seq BIGINT";

    private final Arguments arguments;
    private final StreamTableEnvironment tables = StreamTableEnvironment.create(Settings.environment());

    private SqlJobs(Arguments arguments) {
        this.arguments = arguments;
    }

    public static void main(String[] args) throws Exception {
        new SqlJobs(Arguments.parse(args)).run();
    }

    private void run() throws Exception {
        switch (arguments.job()) {
            case "upper-case" -> run(TEXT, "raw", TEXT, "raw", "SELECT UPPER(`text`) FROM input");
            case "csv-field" -> run(LINE, "csv", TEXT, "raw", "SELECT sensor FROM input");
            case "json" -> run(
                    READING,
                    "json",
                    READING + ", fahrenheit DOUBLE",
                    "json",
                    "SELECT *, `value` * 1.8 + 32 FROM input WHERE `value` > 25");
            default -> throw new IllegalArgumentException("no job " + arguments.job());
        }
    }

    private void run(String columns, String format, String written, String writtenFormat, String query)
            throws Exception {
        table("input", columns, format, arguments.input(), source());
        table("output", written, writtenFormat, arguments.output(), sink());
        tables.executeSql("INSERT INTO output " + query).await();
    }

    private void table(String name, String columns, String format, String topic, Map<String, String> options) {
        options.put("connector", "kafka");
        options.put("properties.bootstrap.servers", arguments.bootstrap());
        options.put("topic", topic);
        options.put("format", format);
        String with = options.entrySet().stream()
                .map(option -> "'" + option.getKey() + "' = '" + option.getValue() + "'")
                .collect(Collectors.joining(", "));
        tables.executeSql("CREATE TABLE " + name + " (" + columns + ") WITH (" + with + ")");
    }

    private Map<String, String> source() {
        Map<String, String> options = prefixed(Settings.consumer());
        options.put("properties.group.id", arguments.output());
        options.put("scan.startup.mode", "earliest-offset");
        options.put("scan.bounded.mode", "latest-offset");
        return options;
    }

    private Map<String, String> sink() {
        Map<String, String> options = prefixed(Settings.producer(arguments.compression()));
        options.put("sink.delivery-guarantee", "exactly-once");
        options.put("sink.transactional-id-prefix", arguments.output());
        return options;
    }

    private static Map<String, String> prefixed(Map<String, String> settings) {
        Map<String, String> options = new TreeMap<>();
        settings.forEach((name, value) -> options.put("properties." + name, value));
        return options;
    }
}
