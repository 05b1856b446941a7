/**
 * What both programs are told.
 *
 * @param bootstrap the brokers
 * @param job the job's name
 * @param input the topic to read, from its beginning to its present end
 * @param output the topic to write
 * @param compression of what is written, as producers name it
 */
record Arguments(String bootstrap, String job, String input, String output, String compression) {
    static Arguments parse(String[] args) {
        if (args.length != 5) {
            throw new IllegalArgumentException("arguments: BOOTSTRAP JOB INPUT OUTPUT COMPRESSION");
        }
        return new Arguments(args[0], args[1], args[2], args[3], args[4]);
    }
}
