import java.util.Locale;
import org.apache.flink.api.common.eventtime.WatermarkStrategy;
import org.apache.flink.api.common.serialization.DeserializationSchema;
import org.apache.flink.api.common.serialization.SerializationSchema;
import org.apache.flink.api.common.serialization.SimpleStringSchema;
import org.apache.flink.connector.base.DeliveryGuarantee;
import org.apache.flink.connector.kafka.sink.KafkaRecordSerializationSchema;
import org.apache.flink.connector.kafka.sink.KafkaSink;
import org.apache.flink.connector.kafka.source.KafkaSource;
import org.apache.flink.connector.kafka.source.enumerator.initializer.OffsetsInitializer;
import org.apache.flink.streaming.api.datastream.DataStream;
import org.apache.flink.streaming.api.environment.StreamExecutionEnvironment;

/** The jobs in Flink's DataStream API, exactly once. */
public final class DataStreamJobs {
    private final Arguments arguments;
    private final StreamExecutionEnvironment environment = Settings.environment();

    private DataStreamJobs(Arguments arguments) {
        this.arguments = arguments;
    }

    public static void main(String[] args) throws Exception {
        var jobs = new DataStreamJobs(Arguments.parse(args));
        jobs.build();
        jobs.environment.execute();
    }

    private void build() {
        switch (arguments.job()) {
            case "pass-through" -> write(read(new Bytes.In()), new Bytes.Out());
            case "upper-case" -> write(
                    read(new SimpleStringSchema()).map(text -> text.toUpperCase(Locale.ROOT)),
                    new SimpleStringSchema());
            // Cheaper than a parser for CSV, which would know quotes.
            case "csv-field" -> write(
                    read(new SimpleStringSchema()).map(line -> line.split(",", 3)[1]), new SimpleStringSchema());
            case "json" -> write(read(new Bytes.In()).flatMap(new Hot()), new Bytes.Out());
            default -> throw new IllegalArgumentException("no job " + arguments.job());
        }
    }

    private <T> DataStream<T> read(DeserializationSchema<T> schema) {
        var source = KafkaSource.<T>builder()
                .setBootstrapServers(arguments.bootstrap())
                .setTopics(arguments.input())
                .setGroupId(arguments.output())
                .setStartingOffsets(OffsetsInitializer.earliest())
                .setBounded(OffsetsInitializer.latest())
                .setValueOnlyDeserializer(schema)
                .setProperties(Settings.properties(Settings.consumer()))
                .build();
        return environment.fromSource(source, WatermarkStrategy.noWatermarks(), "input");
    }

    private <T> void write(DataStream<T> records, SerializationSchema<T> schema) {
        var values = KafkaRecordSerializationSchema.<T>builder()
                .setTopic(arguments.output())
                .setValueSerializationSchema(schema)
                .build();
        records.sinkTo(KafkaSink.<T>builder()
                .setBootstrapServers(arguments.bootstrap())
                .setKafkaProducerConfig(Settings.properties(Settings.producer(arguments.compression())))
                .setRecordSerializer(values)
                .setDeliveryGuarantee(DeliveryGuarantee.EXACTLY_ONCE)
                .setTransactionalIdPrefix(arguments.output())
                .build());
    }
}
