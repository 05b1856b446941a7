import org.apache.flink.api.common.serialization.AbstractDeserializationSchema;
import org.apache.flink.api.common.serialization.SerializationSchema;

/** Values as they are. */
final class Bytes {
    private Bytes() {}

    static final class In extends AbstractDeserializationSchema<byte[]> {
        private static final long serialVersionUID = 1;

        @Override
        public byte[] deserialize(byte[] value) {
            return value;
        }
    }

    static final class Out implements SerializationSchema<byte[]> {
        private static final long serialVersionUID = 1;

        @Override
        public byte[] serialize(byte[] value) {
            return value;
        }
    }
}
