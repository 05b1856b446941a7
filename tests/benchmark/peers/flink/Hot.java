import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import org.apache.flink.api.common.functions.FlatMapFunction;
import org.apache.flink.util.Collector;

/** The JSON job on Jackson's trees, which cost less here than Flink's schemas that read and write a class. */
final class Hot implements FlatMapFunction<byte[], byte[]> {
    private static final long serialVersionUID = 1;
    private static final ObjectMapper MAPPER = new ObjectMapper();

    @Override
    public void flatMap(byte[] bytes, Collector<byte[]> out) throws IOException {
        var reading = (ObjectNode) MAPPER.readTree(bytes);
        double value = reading.get("value").doubleValue();
        if (value > 25) {
            out.collect(MAPPER.writeValueAsBytes(reading.put("fahrenheit", value * 1.8 + 32)));
        }
    }
}
