import com.fasterxml.jackson.databind.node.ObjectNode;
import java.util.Locale;
import java.util.Map;
import java.util.Properties;
import org.apache.kafka.common.Metric;
import org.apache.kafka.common.serialization.Serde;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.StreamsBuilder;
import org.apache.kafka.streams.StreamsConfig;
import org.apache.kafka.streams.errors.StreamsUncaughtExceptionHandler.StreamThreadExceptionResponse;
import org.apache.kafka.streams.kstream.Consumed;
import org.apache.kafka.streams.kstream.KStream;
import org.apache.kafka.streams.kstream.Produced;

/** The jobs in Kafka Streams, exactly once. A topology has no end, so it is closed behind so many records. */
public final class StreamsJobs {
    private static final long PAUSE_MS = 50;

    /**
     * What the program is told.
     *
     * @param bootstrap the brokers
     * @param job the job's name
     * @param input the topic to read from its beginning
     * @param output the topic to write
     * @param compression of what is written, as producers name it
     * @param records the number of records to read
     */
    private record Arguments(
            String bootstrap, String job, String input, String output, String compression, long records) {}

    public static void main(String[] args) throws InterruptedException {
        if (args.length != 6) {
            throw new IllegalArgumentException("arguments: BOOTSTRAP JOB INPUT OUTPUT COMPRESSION RECORDS");
        }
        var arguments = new Arguments(args[0], args[1], args[2], args[3], args[4], Long.parseLong(args[5]));
        var builder = new StreamsBuilder();
        build(builder, arguments);
        try (var streams = new KafkaStreams(builder.build(), properties(arguments))) {
            streams.setUncaughtExceptionHandler(error -> StreamThreadExceptionResponse.SHUTDOWN_CLIENT);
            streams.start();
            await(streams, arguments.records());
        }
    }

    private static void build(StreamsBuilder builder, Arguments arguments) {
        Serde<byte[]> bytes = Serdes.ByteArray();
        Serde<String> text = Serdes.String();
        switch (arguments.job()) {
            case "pass-through" -> write(read(builder, arguments, bytes), arguments, bytes);
            case "upper-case" -> write(
                    read(builder, arguments, text).mapValues(value -> value.toUpperCase(Locale.ROOT)), arguments, text);
            // Cheaper than a parser for CSV, which would know quotes.
            case "csv-field" -> write(
                    read(builder, arguments, text).mapValues(line -> line.split(",", 3)[1]), arguments, text);
            case "json" -> write(
                    read(builder, arguments, Json.serde())
                            .filter((key, reading) -> value(reading) > 25)
                            .mapValues(reading -> reading.put("fahrenheit", value(reading) * 1.8 + 32)),
                    arguments,
                    Json.serde());
            default -> throw new IllegalArgumentException("no job " + arguments.job());
        }
    }

    private static double value(ObjectNode reading) {
        return reading.get("value").doubleValue();
    }

    private static <T> KStream<byte[], T> read(StreamsBuilder builder, Arguments arguments, Serde<T> serde) {
        return builder.stream(arguments.input(), Consumed.with(Serdes.ByteArray(), serde));
    }

    private static <T> void write(KStream<byte[], T> records, Arguments arguments, Serde<T> serde) {
        records.to(arguments.output(), Produced.with(Serdes.ByteArray(), serde));
    }

    private static Properties properties(Arguments arguments) {
        var properties = new Properties();
        properties.putAll(Map.of(
                StreamsConfig.APPLICATION_ID_CONFIG, arguments.output(),
                StreamsConfig.BOOTSTRAP_SERVERS_CONFIG, arguments.bootstrap(),
                StreamsConfig.STATE_DIR_CONFIG, System.getProperty("java.io.tmpdir") + "/streams",
                StreamsConfig.NUM_STREAM_THREADS_CONFIG, "1",
                StreamsConfig.PROCESSING_GUARANTEE_CONFIG, StreamsConfig.EXACTLY_ONCE_V2,
                // A commit each second: what every engine does here. The default is ten times as many.
                StreamsConfig.COMMIT_INTERVAL_MS_CONFIG, "1000",
                StreamsConfig.consumerPrefix("auto.offset.reset"), "earliest"));
        properties.putAll(Map.of(
                // Five times the default, and as many wait for the thread: else partitions are paused and resumed.
                StreamsConfig.consumerPrefix("max.poll.records"), "5000",
                StreamsConfig.BUFFERED_RECORDS_PER_PARTITION_CONFIG, "5000",
                // 16 times the default, and time to fill it: so many fewer requests.
                StreamsConfig.producerPrefix("batch.size"), "262144",
                StreamsConfig.producerPrefix("linger.ms"), "20",
                // Twice the default: room for batches of that size while others are on their way.
                StreamsConfig.producerPrefix("buffer.memory"), "67108864",
                StreamsConfig.producerPrefix("compression.type"), arguments.compression()));
        return properties;
    }

    /** Waits until the one thread has processed so many records, by its own count: records pay nothing for it. */
    private static void await(KafkaStreams streams, long records) throws InterruptedException {
        Metric processed = streams.metrics().values().stream()
                .filter(metric -> metric.metricName().group().equals("stream-thread-metrics"))
                .filter(metric -> metric.metricName().name().equals("process-total"))
                .findAny()
                .orElseThrow();
        while (((Number) processed.metricValue()).longValue() < records) {
            if (streams.state().hasCompletedShutdown() || streams.state() == KafkaStreams.State.ERROR) {
                throw new IllegalStateException("the streams ended: " + streams.state());
            }
            Thread.sleep(PAUSE_MS);
        }
    }
}
