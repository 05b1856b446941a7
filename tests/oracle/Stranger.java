import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Properties;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.Future;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.ScramCredentialInfo;
import org.apache.kafka.clients.admin.ScramMechanism;
import org.apache.kafka.clients.admin.UserScramCredentialUpsertion;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.clients.producer.RecordMetadata;
import org.apache.kafka.common.acl.AccessControlEntry;
import org.apache.kafka.common.acl.AccessControlEntryFilter;
import org.apache.kafka.common.acl.AclBinding;
import org.apache.kafka.common.acl.AclBindingFilter;
import org.apache.kafka.common.acl.AclOperation;
import org.apache.kafka.common.acl.AclPermissionType;
import org.apache.kafka.common.resource.PatternType;
import org.apache.kafka.common.resource.ResourcePattern;
import org.apache.kafka.common.resource.ResourcePatternFilter;
import org.apache.kafka.common.serialization.StringDeserializer;
import org.apache.kafka.common.serialization.StringSerializer;
import org.apache.kafka.common.utils.SecurityUtils;

/**
 * Another user of the cluster, with Kafka's own Java client.
 *
 * <pre>
 * Stranger partitions BOOTSTRAP TOPIC           keys on stdin, one a line: produces them; prints each one's partition
 * Stranger join BOOTSTRAP GROUP TOPIC PROTOCOL  joins the group (classic or consumer) and commits what it reads until
 *                                               it is killed; prints "joined" when it has partitions
 * Stranger acls BOOTSTRAP                       on stdin: PRINCIPAL RESOURCE_TYPE PATTERN_TYPE NAME OPERATION[,…]
 * Stranger no-acls BOOTSTRAP [PRINCIPAL]        deletes all ACLs, or those of one principal
 * Stranger scram BOOTSTRAP USER                 a password on stdin: makes it the only one of a SCRAM user
 * </pre>
 */
public final class Stranger {
    public static void main(String[] args) throws Exception {
        switch (args.length == 0 ? "" : args[0]) {
            case "partitions" -> partitions(args[1], args[2]);
            case "join" -> join(args[1], args[2], args[3], args[4]);
            case "acls" -> acls(args[1]);
            case "no-acls" -> noAcls(args[1], args.length > 2 ? args[2] : null);
            case "scram" -> scram(args[1], args[2]);
            default -> {
                System.err.println("usage: Stranger partitions|join|acls|no-acls|scram BOOTSTRAP …");
                System.exit(2);
            }
        }
    }

    private static void partitions(String bootstrap, String topic)
            throws IOException, ExecutionException, InterruptedException {
        Properties properties = properties(bootstrap);
        try (var producer = new KafkaProducer<>(properties, new StringSerializer(), new StringSerializer())) {
            List<Future<RecordMetadata>> sent = new ArrayList<>();
            for (String key : lines()) {
                sent.add(producer.send(new ProducerRecord<>(topic, key, "")));
            }
            producer.flush();
            for (Future<RecordMetadata> record : sent) {
                System.out.println(record.get().partition());
            }
        }
    }

    private static void join(String bootstrap, String group, String topic, String protocol) {
        Properties properties = properties(bootstrap);
        properties.put("group.id", group);
        properties.put("group.protocol", protocol);
        properties.put("auto.offset.reset", "earliest");
        properties.put("auto.commit.interval.ms", "100");
        try (var consumer = new KafkaConsumer<>(properties, new StringDeserializer(), new StringDeserializer())) {
            consumer.subscribe(List.of(topic));
            boolean joined = false;
            while (true) {
                consumer.poll(Duration.ofMillis(100));
                if (!joined && !consumer.assignment().isEmpty()) {
                    System.out.println("joined");
                    joined = true;
                }
            }
        }
    }

    private static void acls(String bootstrap) throws IOException, ExecutionException, InterruptedException {
        List<AclBinding> bindings = new ArrayList<>();
        for (String line : lines()) {
            String[] parts = line.trim().split("\\s+");
            var resource = new ResourcePattern(
                    SecurityUtils.resourceType(parts[1]), parts[3], PatternType.fromString(parts[2]));
            for (String operation : parts[4].split(",")) {
                bindings.add(new AclBinding(resource, new AccessControlEntry(
                        parts[0], "*", SecurityUtils.operation(operation), AclPermissionType.ALLOW)));
            }
        }
        try (Admin admin = Admin.create(properties(bootstrap))) {
            admin.createAcls(bindings).all().get();
        }
    }

    /** Without a principal, of everybody. */
    private static void noAcls(String bootstrap, String principal) throws ExecutionException, InterruptedException {
        var entries = new AccessControlEntryFilter(principal, null, AclOperation.ANY, AclPermissionType.ANY);
        try (Admin admin = Admin.create(properties(bootstrap))) {
            admin.deleteAcls(List.of(new AclBindingFilter(ResourcePatternFilter.ANY, entries))).all().get();
        }
    }

    private static void scram(String bootstrap, String user)
            throws IOException, ExecutionException, InterruptedException {
        String password = lines().get(0);
        try (Admin admin = Admin.create(properties(bootstrap))) {
            // Brokers take one change of a user a request.
            for (var mechanism : List.of(ScramMechanism.SCRAM_SHA_256, ScramMechanism.SCRAM_SHA_512)) {
                var change = new UserScramCredentialUpsertion(user, new ScramCredentialInfo(mechanism, 4096), password);
                admin.alterUserScramCredentials(List.of(change)).all().get();
            }
        }
    }

    private static Properties properties(String bootstrap) {
        Properties properties = new Properties();
        properties.put("bootstrap.servers", bootstrap);
        return properties;
    }

    private static List<String> lines() throws IOException {
        var reader = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        List<String> lines = new ArrayList<>();
        for (String line = reader.readLine(); line != null; line = reader.readLine()) {
            if (!line.isBlank()) {
                lines.add(line);
            }
        }
        return lines;
    }
}
