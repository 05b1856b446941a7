import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Base64;
import java.util.BitSet;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.TreeMap;
import java.util.function.Consumer;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.serialization.ByteBufferDeserializer;

/**
 * Judges what a pipeline has written, with nothing of Millstream in it: Kafka's own Java client reads the topics,
 * committed records only, from their beginnings to the last stable offsets at its start.
 *
 * <pre>
 * Oracle check BOOTSTRAP TOPIC[,TOPIC…] COUNT[,COUNT…]
 * Oracle dump  BOOTSTRAP TOPIC[,TOPIC…]
 * </pre>
 *
 * <p>{@code check} takes every record's value for {@code SOURCE,SEQUENCE} with anything behind a further comma, and
 * demands that all topics together hold each of 0..COUNT-1 of each source (0, 1, … in the order of the counts) once,
 * and that within a partition of a topic the sequences of a source ascend. It prints one line of JSON: {@code records},
 * {@code missing}, {@code duplicates}, {@code outOfOrder}, {@code foreign} (values that are none of these ids),
 * {@code open} (records behind a last stable offset, that is in transactions nobody ended) and some {@code examples}.
 * The exit code is 0 if all but {@code records} are 0, else 1.
 *
 * <p>{@code dump} prints a line of JSON a record; keys, values and header values are Base64 or null.
 */
public final class Oracle {
    private static final int EXAMPLES = 20;

    public static void main(String[] args) {
        if (args.length == 4 && args[0].equals("check")) {
            System.exit(new Check(args[3]).run(args[1], topics(args[2])));
        } else if (args.length == 3 && args[0].equals("dump")) {
            read(args[1], topics(args[2]), record -> System.out.println(dumped(record)));
        } else {
            System.err.println("usage: Oracle check BOOTSTRAP TOPICS COUNTS | Oracle dump BOOTSTRAP TOPICS");
            System.exit(2);
        }
    }

    private static List<String> topics(String names) {
        return Arrays.asList(names.split(","));
    }

    /** The ids that are expected, those that were seen, and what was wrong with the rest. */
    private static final class Check {
        private final int[] counts;
        private final BitSet[] seen;
        private final Map<String, Integer> last = new HashMap<>();
        private final List<String> examples = new ArrayList<>();
        private long records;
        private long duplicates;
        private long outOfOrder;
        private long foreign;

        Check(String counts) {
            this.counts = Arrays.stream(counts.split(",")).mapToInt(Integer::parseInt).toArray();
            this.seen = new BitSet[this.counts.length];
            Arrays.setAll(seen, i -> new BitSet());
        }

        int run(String bootstrap, List<String> topics) {
            long open = read(bootstrap, topics, this::accept);
            long missing = missing();
            System.out.printf(
                    "{\"records\":%d,\"missing\":%d,\"duplicates\":%d,\"outOfOrder\":%d,\"foreign\":%d,\"open\":%d,"
                            + "\"examples\":[%s]}%n",
                    records, missing, duplicates, outOfOrder, foreign, open, String.join(",", examples));
            return missing + duplicates + outOfOrder + foreign + open == 0 ? 0 : 1;
        }

        private void accept(ConsumerRecord<ByteBuffer, ByteBuffer> record) {
            records++;
            int[] id = id(record.value());
            if (id == null || id[0] >= counts.length || id[1] >= counts[id[0]]) {
                foreign++;
                example("foreign", record);
                return;
            }
            String way = record.topic() + "/" + record.partition() + "/" + id[0];
            int before = last.getOrDefault(way, -1);
            if (seen[id[0]].get(id[1])) {
                duplicates++;
                example("duplicate", record);
            } else if (id[1] < before) {
                outOfOrder++;
                example("out of order behind " + before, record);
            }
            seen[id[0]].set(id[1]);
            last.put(way, Math.max(before, id[1]));
        }

        private long missing() {
            long missing = 0;
            for (int source = 0; source < counts.length; source++) {
                missing += counts[source] - seen[source].cardinality();
                int gap = seen[source].nextClearBit(0);
                for (; gap < counts[source] && examples.size() < EXAMPLES; gap = seen[source].nextClearBit(gap + 1)) {
                    examples.add(quoted("missing " + source + "," + gap));
                }
            }
            return missing;
        }

        private void example(String what, ConsumerRecord<ByteBuffer, ByteBuffer> record) {
            if (examples.size() < EXAMPLES) {
                examples.add(quoted(what + ": " + record.topic() + "-" + record.partition() + " offset "
                        + record.offset() + ": " + text(record.value())));
            }
        }
    }

    /** The two numbers that a value begins with, or null. */
    private static int[] id(ByteBuffer value) {
        if (value == null) {
            return null;
        }
        String[] parts = text(value).split(",", 3);
        try {
            int[] id = {Integer.parseInt(parts[0]), Integer.parseInt(parts[1])};
            return id[0] < 0 || id[1] < 0 ? null : id;
        } catch (NumberFormatException | ArrayIndexOutOfBoundsException e) {
            return null;
        }
    }

    /** Hands all committed records to {@code sink}; returns how many offsets lie behind the last stable ones. */
    private static long read(
            String bootstrap, List<String> topics, Consumer<ConsumerRecord<ByteBuffer, ByteBuffer>> sink) {
        try (var consumer = consumer(bootstrap, "read_committed");
                var uncommitted = consumer(bootstrap, "read_uncommitted")) {
            List<TopicPartition> partitions = new ArrayList<>();
            for (String topic : topics) {
                consumer.partitionsFor(topic).forEach(p -> partitions.add(new TopicPartition(topic, p.partition())));
            }
            consumer.assign(partitions);
            consumer.seekToBeginning(partitions);
            Map<TopicPartition, Long> stable = consumer.endOffsets(partitions);
            Map<TopicPartition, Long> ends = uncommitted.endOffsets(partitions);
            while (stable.entrySet().stream().anyMatch(end -> consumer.position(end.getKey()) < end.getValue())) {
                consumer.poll(Duration.ofMillis(500)).forEach(sink);
            }
            return partitions.stream().mapToLong(p -> ends.get(p) - stable.get(p)).sum();
        }
    }

    private static KafkaConsumer<ByteBuffer, ByteBuffer> consumer(String bootstrap, String isolation) {
        Properties properties = new Properties();
        properties.put("bootstrap.servers", bootstrap);
        properties.put("isolation.level", isolation);
        properties.put("auto.offset.reset", "none");
        properties.put("enable.auto.commit", "false");
        properties.put("max.poll.records", "10000");
        return new KafkaConsumer<>(properties, new ByteBufferDeserializer(), new ByteBufferDeserializer());
    }

    private static String dumped(ConsumerRecord<ByteBuffer, ByteBuffer> record) {
        List<String> headers = new ArrayList<>();
        for (Header header : record.headers()) {
            byte[] value = header.value();
            headers.add("[" + quoted(header.key()) + "," + base64(value == null ? null : ByteBuffer.wrap(value)) + "]");
        }
        Map<String, String> fields = new TreeMap<>();
        fields.put("topic", quoted(record.topic()));
        fields.put("partition", Integer.toString(record.partition()));
        fields.put("offset", Long.toString(record.offset()));
        fields.put("timestamp", Long.toString(record.timestamp()));
        fields.put("key", base64(record.key()));
        fields.put("value", base64(record.value()));
        fields.put("headers", "[" + String.join(",", headers) + "]");
        List<String> members = new ArrayList<>();
        fields.forEach((name, value) -> members.add(quoted(name) + ":" + value));
        return "{" + String.join(",", members) + "}";
    }

    private static String base64(ByteBuffer bytes) {
        return bytes == null
                ? "null"
                : quoted(StandardCharsets.ISO_8859_1.decode(Base64.getEncoder().encode(bytes.duplicate())).toString());
    }

    private static String text(ByteBuffer bytes) {
        return bytes == null ? "null" : StandardCharsets.UTF_8.decode(bytes.duplicate()).toString();
    }

    private static String quoted(String text) {
        StringBuilder quoted = new StringBuilder("\"");
        for (char c : text.toCharArray()) {
            if (c == '"' || c == '\\') {
                quoted.append('\\').append(c);
            } else if (c < ' ') {
                quoted.append(String.format("\\u%04x", (int) c));
            } else {
                quoted.append(c);
            }
        }
        return quoted.append('"').toString();
    }
}
